//! No place is listened on twice: one of the two would not be open, and which, nobody would
//! know.

use std::path::PathBuf;

use harp_service::exposure::normal;
use harp_service::{ListenAddress, Table};

use crate::listener::settings::{ListenerPlace, ListenerSettings};

/// Notes each address and path that another one of the file has already.
pub(super) fn check(
    root: &Table<'_>,
    listen: &[ListenAddress],
    listeners: &[(&Table<'_>, ListenerSettings)],
) {
    let mut addresses = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for address in listen {
        check_address(root, "listen", address, &mut addresses);
    }
    for (table, settings) in listeners {
        match &settings.place {
            ListenerPlace::Address(address) => {
                check_address(table, "address", address, &mut addresses);
            }
            ListenerPlace::Path(place) => {
                let path = normal(&place.path);
                if paths.contains(&path) {
                    let problem = format!("{} is there twice", place.path.display());
                    table.problem("path", problem);
                }
                paths.push(path);
            }
        }
    }
}

fn check_address<'a>(
    table: &Table<'_>,
    key: &str,
    address: &'a ListenAddress,
    there: &mut Vec<&'a ListenAddress>,
) {
    if let Some(there) = there.iter().find(|there| address.collides_with(there)) {
        table.problem(key, told(address, there));
    }
    there.push(address);
}

fn told(address: &ListenAddress, there: &ListenAddress) -> String {
    let (address, there) = (address.to_string(), there.to_string());
    if address.eq_ignore_ascii_case(&there) {
        format!("{address} is there twice")
    } else if address.starts_with('*') {
        format!("{address} stands for {there} too, which is there already")
    } else {
        format!("{address} is part of {there}, which is there already")
    }
}
