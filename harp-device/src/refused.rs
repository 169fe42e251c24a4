//! Calls that never reach their device, and why.

use harp_values::{Failure, error_type};
use serde_json::json;

/// Devices have no such procedure.
pub(crate) fn no_such_procedure(procedure: &str) -> Failure {
    let message = format!(
        "devices have no procedure {procedure:?}: there are the names of their commands in \
         lower case (get_status), command:N, custom:N and events"
    );
    let data = json!({ "procedure": procedure });
    Failure::new(error_type::NO_SUCH_PROCEDURE, message).with_data(&data)
}

/// The arguments are none that a device can be sent.
pub(crate) fn invalid_arguments(message: impl Into<String>) -> Failure {
    Failure::new(error_type::INVALID_ARGUMENT_LIST, message)
}
