//! Denials, errors that only `harp/2` has: a host gives no call to a caller who asks for one,
//! because it does not have the call, or does not want the caller.

use serde::{Deserialize, Serialize};

use super::order::is_boot;
use crate::{Failure, Json, error_type};

/// Why a host gives no call in answer to a request or an attach, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The request was meant for another life of harpd; nothing has run.
    WrongBoot {
        /// The life that it has come to.
        boot: String,
        /// Whether a request to that life may have a `traceparent`.
        takes_traceparent: bool,
    },
    /// There is no such call.
    NoSuchCall {
        /// The life that was asked; `None` if nothing may be concluded.
        boot: Option<String>,
        /// The lives before it, the newest last; at most 8.
        earlier: Vec<String>,
        /// Since how many seconds this life has forgotten no id; `None`: it never has.
        /// 0: it has known this one, and has nothing to give.
        remembers: Option<u64>,
    },
    /// Somebody with a higher epoch has the call.
    StaleEpoch,
    /// Packets before this one are gone.
    LostPackets {
        /// The first that is there.
        first: u64,
    },
}

/// No call has had so many packets.
const MOST_PACKETS: u64 = 1 << 53;

#[derive(Serialize, Deserialize)]
struct WrongBootData {
    boot: String,
    /// Keys that a request may have besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    takes: Vec<String>,
}

const TRACEPARENT: &str = "traceparent";

#[derive(Serialize, Deserialize)]
struct NoSuchCallData {
    boot: Option<String>,
    #[serde(default)]
    earlier: Vec<String>,
    remembers: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct LostPacketsData {
    first: u64,
}

impl Denial {
    /// The error that says so on the wire.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        match self {
            Denial::WrongBoot {
                boot,
                takes_traceparent,
            } => {
                let takes = takes_traceparent.then(|| TRACEPARENT.to_owned());
                let data = WrongBootData {
                    boot: boot.clone(),
                    takes: takes.into_iter().collect(),
                };
                let message = "the call was meant for another life of this harpd";
                Failure::new(error_type::WRONG_BOOT, message).with_data(&data)
            }
            Denial::NoSuchCall {
                boot,
                earlier,
                remembers,
            } => Failure::new(error_type::NO_SUCH_CALL, "there is no such call here").with_data(
                &NoSuchCallData {
                    boot: boot.clone(),
                    earlier: earlier.clone(),
                    remembers: *remembers,
                },
            ),
            Denial::StaleEpoch => Failure::new(
                error_type::STALE_EPOCH,
                "somebody with a higher epoch has the call",
            ),
            Denial::LostPackets { first } => Failure::new(
                error_type::LOST_PACKETS,
                format!("the packets before number {first} are not kept any more"),
            )
            .with_data(&LostPacketsData { first: *first }),
        }
    }

    /// Reads an error; `None` if it is none of these with the data that belongs to it.
    #[must_use]
    pub fn of_failure(failure: &Failure) -> Option<Denial> {
        fn data<T: serde::de::DeserializeOwned>(failure: &Failure) -> Option<T> {
            failure.data.as_ref().map(Json::decode::<T>)?.ok()
        }
        match failure.error_type.as_str() {
            error_type::WRONG_BOOT => {
                let WrongBootData { boot, takes } = data(failure)?;
                is_boot(&boot).then_some(Denial::WrongBoot {
                    boot,
                    takes_traceparent: takes.iter().any(|key| key == TRACEPARENT),
                })
            }
            error_type::NO_SUCH_CALL => {
                let NoSuchCallData {
                    boot,
                    earlier,
                    remembers,
                } = data(failure)?;
                let is_known = boot.as_deref().is_none_or(is_boot);
                is_known.then_some(Denial::NoSuchCall {
                    boot,
                    earlier,
                    remembers,
                })
            }
            error_type::STALE_EPOCH => Some(Denial::StaleEpoch),
            error_type::LOST_PACKETS => {
                let LostPacketsData { first } = data(failure)?;
                (first < MOST_PACKETS).then_some(Denial::LostPackets { first })
            }
            _ => None,
        }
    }
}
