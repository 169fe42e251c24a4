//! The procedure `harpd.describe`, which harpd itself answers.

use std::collections::BTreeMap;

use harp_proto::host::Message;
use harp_proto::{Failure, Json, error_type};
use serde::Serialize;

use crate::answer::Answer;
use crate::description::{DESCRIBE, Description};
use crate::permissions::Permissions;
use crate::procedure::Procedures;

/// The answer to `harpd.describe`: the procedures that the user may call.
///
/// # Errors
///
/// `invalid_argument_list` if there are arguments; `system_error` if there is no room for it.
pub fn describe(
    arguments: &Json,
    user: &str,
    procedures: &Procedures,
    permissions: &Permissions,
) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Told<'a> {
        procedures: BTreeMap<&'a str, &'a Description>,
    }
    if !matches!(arguments.as_str(), "[]" | "{}") {
        let message = format!("{DESCRIBE} takes no arguments");
        return Err(Failure::new(error_type::INVALID_ARGUMENT_LIST, message));
    }
    let allowed = procedures
        .iter()
        .filter(|(name, _)| permissions.allow(user, name))
        .map(|(name, procedure)| (name.as_str(), &procedure.description));
    let told = Told {
        procedures: allowed.collect(),
    };
    let told = Json::encode(&told)
        .map_err(|error| Failure::new(error_type::SYSTEM_ERROR, error.to_string()))?;
    Answer::of(Message::Result(told))
}
