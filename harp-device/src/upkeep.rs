//! Keeping a link to each of a device's two sockets up, wherever the registry has it.

use std::sync::Arc;

use harp_zmtp::SocketType;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::device::Device;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::link::{self, Link, shown};
use crate::surroundings::{Settings, Surroundings};

/// One of a device's two sockets, and what goes on over a link to it.
pub(crate) trait Socket {
    /// Ours at the other end.
    const TYPE: SocketType;

    /// Its port.
    fn port(entry: &Entry) -> u16;

    /// Does what there is to do over a link until it breaks; `None` if it is given up on
    /// purpose, and to be opened anew at once.
    fn hold(
        device: &Device,
        link: Link,
        settings: &Settings,
    ) -> impl Future<Output = Option<Fault>> + Send;

    /// There is no link; without a fault it was given up on purpose.
    fn lost(device: &Device, fault: Option<Fault>);
}

/// Keeps a link to a device's socket up for ever, while the registry has the device.
pub(crate) async fn keep_up<S: Socket>(device: Arc<Device>, surroundings: Arc<dyn Surroundings>) {
    loop {
        let entry = device.entered().await;
        tokio::select! {
            () = device.moved(&entry) => {
                let at = shown(&entry.address, S::port(&entry));
                S::lost(&device, Some(Fault::moved(at)));
            }
            () = keep_up_there::<S>(&device, &entry, &surroundings) => {}
        }
    }
}

/// Opens one link after the other to where the device is now.
async fn keep_up_there<S: Socket>(
    device: &Device,
    entry: &Entry,
    surroundings: &Arc<dyn Surroundings>,
) {
    let mut backoff = Backoff::new();
    loop {
        let settings = surroundings.settings();
        let at = (&*entry.address, S::port(entry));
        let until = Instant::now() + settings.connect_timeout;
        let opened = link::open(at, S::TYPE, settings.max_packet_size, until).await;
        let fault = match opened {
            Ok(connection) => {
                backoff.connected(device.world().now());
                let share = surroundings.share(device.name());
                let link = Link::new(shown(at.0, at.1), connection, share);
                match S::hold(device, link, &settings).await {
                    Some(fault) => fault,
                    None => {
                        S::lost(device, None);
                        continue;
                    }
                }
            }
            Err(fault) => fault,
        };
        S::lost(device, Some(fault));
        device.pause(backoff.pause(device.world().now())).await;
    }
}
