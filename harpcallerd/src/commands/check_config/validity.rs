//! For how many days a certificate is still good.

use std::path::Path;

use harp_files::{certificate, pem, regular};
use harp_time::clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const DAY: i64 = 24 * 60 * 60;

/// With fewer days left the line is a warning.
const SOON: i64 = 30;

/// The line on the certificate of this name, which ends at this time in seconds since 1970.
pub(super) fn line(name: &str, ends: Option<i64>) -> String {
    let now = i64::try_from(clock::now() / 1000).unwrap_or(i64::MAX);
    line_at(name, ends, now)
}

/// The line on the first certificate in a file that `check-config` has been able to use.
pub(super) fn of_file(file: &Path) -> String {
    let name = file.display().to_string();
    let ends = regular::read(file).ok().and_then(|text| {
        let first = pem::certificates(&text).ok()?.into_iter().next()?;
        let der = CertificateDer::from_pem_slice(first.text.as_bytes()).ok()?;
        certificate::ends(&der)
    });
    line(&name, ends)
}

fn line_at(name: &str, ends: Option<i64>, now: i64) -> String {
    let Some(ends) = ends else {
        return format!("{name}: it cannot be read when its certificate ends");
    };
    let days = ends.saturating_sub(now).div_euclid(DAY);
    match days {
        // One that is known byte for byte is accepted whatever its dates say.
        ..0 => format!("warning: {name}: its certificate ended {} days ago", -days),
        0..SOON => format!("warning: {name}: its certificate ends in {days} days"),
        _ => format!("{name}: its certificate ends in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_few_of_them_are_a_warning() {
        let of = |ends| line_at("web01", Some(ends), 1_000_000);
        assert_eq!(
            of(1_000_000 + 30 * DAY),
            "web01: its certificate ends in 30 days"
        );
        assert_eq!(
            of(1_000_000 + 30 * DAY - 1),
            "warning: web01: its certificate ends in 29 days"
        );
        assert_eq!(
            of(1_000_000 - 1),
            "warning: web01: its certificate ended 1 days ago"
        );
        assert!(line_at("web01", None, 0).contains("cannot be read"));
    }
}
