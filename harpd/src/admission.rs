//! Whether a call may come in: the password, what the user may call, and whether the procedure can
//! be called so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harp_proto::host::Request;
use harp_proto::{Failure, Password, error_type};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::call::Call;
use crate::describe::describe;
use crate::description::DESCRIBE;
use crate::invocation::Invocation;
use crate::procedure::Procedure;
use crate::program::loading_error;
use crate::state::State;
use crate::users::Users;

/// A failed authentication is answered this long after it began.
const FAILURE_DELAY: Duration = Duration::from_secs(1);
/// Greatest length of a name from a request in the log, in characters.
const SHOWN: usize = 64;

/// Lets the request of a user with the right password pass. Of any other nothing is
/// kept while its sender waits for the answer, nor what is `held` for it.
///
/// # Errors
///
/// `auth_error`, a second after the call.
pub async fn authenticate(
    request: Request,
    held: impl Sized,
    peer: SocketAddr,
    users: &Arc<Users>,
) -> Result<Request, Failure> {
    let began = Instant::now();
    if is_user(&request.user, &request.password, peer, users).await {
        return Ok(request);
    }
    drop(request);
    drop(held);
    Err(refused_since(began).await)
}

/// Whether the password is the user's; the log is told if not.
pub async fn is_user(
    user: &str,
    password: &Password,
    peer: SocketAddr,
    users: &Arc<Users>,
) -> bool {
    let is_right = users.verify(user, password).await;
    if !is_right {
        warn!(user = shown(user), %peer, "authentication failed");
    }
    is_right
}

/// The answer to a wrong password, a second after the judging began.
pub async fn refused_since(began: Instant) -> Failure {
    tokio::time::sleep_until(began + FAILURE_DELAY).await;
    Failure::new(error_type::AUTH_ERROR, "user and password do not fit")
}

/// Makes a call of a request; authentication comes first, so that a stranger learns
/// nothing else, and what the user may call second, so that nobody learns what else there
/// is. As long as the file system takes that the procedure is on. Cancel safe.
///
/// # Errors
///
/// The answer to a request that is not accepted.
pub async fn accept(request: Request, peer: SocketAddr, state: &State) -> Result<Call, Failure> {
    if request.procedure == DESCRIBE {
        let (procedures, permissions) = (&state.config.procedures, &state.config.permissions);
        let told = describe(&request.arguments, &request.user, procedures, permissions)?;
        return Ok(Call {
            invocation: Invocation::of_input(&[])?,
            procedure: Arc::new(Procedure::of_harpd(DESCRIBE)),
            user: request.user,
            peer,
            traceparent: None,
            told: Some(told),
            has_slots: Arc::default(),
            id: None,
        });
    }
    if !(state.config.permissions).allow(&request.user, &request.procedure) {
        let procedure = shown(&request.procedure);
        warn!(procedure, user = request.user, %peer, "the user may not call the procedure");
        return Err(Failure::new(
            error_type::AUTH_ERROR,
            format!("user {} may not call {procedure}", shown(&request.user)),
        )
        .with_data(&serde_json::json!({ "procedure": request.procedure })));
    }
    let Some(procedure) = state.config.procedures.get(&request.procedure) else {
        let procedure = shown(&request.procedure);
        if let Some(error) = &state.imports.module_failure {
            // It may be one of the module's.
            warn!(procedure, user = request.user, %peer, %error, "cannot be started");
            return Err(Failure::new(
                error_type::PROCEDURE_LOADING_ERROR,
                format!("there is no procedure {procedure} as long as this is so: {error}"),
            ));
        }
        info!(procedure, user = request.user, %peer, "no such procedure");
        return Err(Failure::new(
            error_type::NO_SUCH_PROCEDURE,
            format!("there is no procedure {procedure}"),
        )
        .with_data(&serde_json::json!({ "procedure": request.procedure })));
    };
    procedure.runner.look().await.map_err(|why| {
        warn!(procedure = procedure.name, user = request.user, %peer, %why, "cannot be started");
        loading_error(&why)
    })?;
    let checked = procedure.description.check(&request.arguments);
    let invocation = checked
        .and_then(|()| procedure.runner.prepare(&request.arguments))
        .inspect_err(|failure| {
            info!(
                procedure = procedure.name, user = request.user, %peer, r#type = failure.error_type,
                "request refused"
            );
        })?;
    Ok(Call {
        invocation,
        procedure: Arc::clone(procedure),
        user: request.user,
        peer,
        traceparent: None,
        told: None,
        has_slots: Arc::default(),
        id: None,
    })
}

/// What is said to whoever has to make room for others that wait. Nothing was run, and the same
/// request may be accepted a moment later.
#[must_use]
pub fn crowded_out() -> Failure {
    let message = "the request came too slowly while others waited for memory";
    Failure::new(error_type::OVERLOADED, message)
}

/// A name that a stranger chose, short and without control characters.
pub fn shown(name: &str) -> String {
    let start: String = name.chars().take(SHOWN).collect();
    let ellipsis = if start.len() < name.len() { "..." } else { "" };
    format!("{start:?}{ellipsis}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use harp_budget::Budget;
    use harp_proto::Json;

    use super::*;

    /// Bytes that show when nobody has them any more.
    struct Watched(Arc<[u8]>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test]
    async fn nothing_of_a_refused_request_is_held_while_its_sender_waits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let users = Arc::new(Users::read(file.path()).unwrap());
        let memory = Budget::new(1);
        let mark: Arc<[u8]> = Arc::from(*b"[]");
        let arguments = Bytes::from_owner(Watched(Arc::clone(&mark)));
        let request = Request {
            procedure: "p".into(),
            arguments: Json::from_trusted(arguments),
            user: "stranger".into(),
            // Wrong unseen, so that no time goes by.
            password: "x".repeat(1000).into(),
        };
        let mut share = memory.share(&1);
        share.hold(1).await.unwrap();
        let peer = "127.0.0.1:1".parse().unwrap();
        let answer = authenticate(request, share, peer, &users);
        tokio::pin!(answer);
        let early = tokio::time::timeout(FAILURE_DELAY / 2, &mut answer).await;
        assert!(early.is_err());
        assert_eq!(memory.held(), 0);
        assert_eq!(Arc::strong_count(&mark), 1);
        assert_eq!(answer.await.unwrap_err().error_type, "auth_error");
    }
}
