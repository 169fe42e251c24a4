//! The error vocabulary: every `type` that a wire error of this project can have.
//!
//! A host may use types of its own; these are the ones with a meaning fixed by the
//! protocols (client protocol, section 7; host protocol, "Then").

/// The line is empty, not JSON, or not UTF-8.
pub const PARSE_ERROR: &str = "parse_error";
/// Not an object, or the protocol's version key is missing or not 1.
pub const INVALID_PROTOCOL: &str = "invalid_protocol";
/// Anything else wrong with a request's shape; data names the `field`.
pub const INVALID_REQUEST: &str = "invalid_request";
/// The request's line is over the configured limit; data has the `limit` in bytes.
pub const REQUEST_TOO_LARGE: &str = "request_too_large";
/// No such job.
pub const INVALID_JOB_ID: &str = "invalid_jobid";
/// The hosts registry has no such name; data names the `host`.
pub const UNKNOWN_HOST: &str = "unknown_host";
/// Resolving, connecting, TLS, or a connection that broke; data has `code`, `phase`
/// and `address`.
pub const NETWORK_ERROR: &str = "network_error";
/// The host sent something that is not the harp protocol; data has the `phase`.
pub const PROTOCOL_ERROR: &str = "protocol_error";
/// A failure of the dispatcher's own system; data has the `code`.
pub const OS_ERROR: &str = "os_error";
/// A job could not be recorded, or cannot be read; data has the `outcome`.
pub const STORAGE_ERROR: &str = "storage_error";
/// Silence too long, or an execution limit reached; data has `limit` and `seconds`.
/// From harpd: the procedure's own limit.
pub const TIMEOUT: &str = "timeout";
/// The dispatcher stopped while the job was running.
pub const MISSING_RESULT: &str = "missing_result";
/// No new calls are taken: stopping or draining. From harpd: the service is stopping.
pub const SHUTDOWN: &str = "shutdown";
/// The arguments are not what the procedure's schema wants; data has the `errors`.
pub const INVALID_ARGUMENTS: &str = "invalid_arguments";
/// A configured limit on live jobs or connections is reached.
pub const OVERLOADED: &str = "overloaded";
/// The client did not authenticate, and must.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The client may not do this.
pub const FORBIDDEN: &str = "forbidden";

/// harpd: user and password do not fit.
pub const AUTH_ERROR: &str = "auth_error";
/// harpd: the configuration exposes no such procedure; data names the `procedure`.
pub const NO_SUCH_PROCEDURE: &str = "no_such_procedure";
/// harpd: the procedure is there but cannot be loaded.
pub const PROCEDURE_LOADING_ERROR: &str = "procedure_loading_error";
/// harpd: the arguments do not fit the procedure.
pub const INVALID_ARGUMENT_LIST: &str = "invalid_argument_list";
/// harpd: the call was cancelled and nothing of it is left; data has `processes`, 0.
pub const CANCELLED: &str = "cancelled";
/// harpd: a failure of the host's own system.
pub const SYSTEM_ERROR: &str = "system_error";

/// harpd, `harp/2`: the call was meant for another life of it; data has its `boot`.
pub const WRONG_BOOT: &str = "wrong_boot";
/// harpd, `harp/2`: nothing to attach to; data has `boot`, `earlier` and `remembers`.
pub const NO_SUCH_CALL: &str = "no_such_call";
/// harpd, `harp/2`: somebody with a higher epoch has the call.
pub const STALE_EPOCH: &str = "stale_epoch";
/// harpd, `harp/2`: packets that are wanted are gone; data has the `first` that is there.
pub const LOST_PACKETS: &str = "lost_packets";
/// harpd, `harp/2`: nobody took up the call within its `keep`; data has `processes`, 0.
pub const KEEP_OVER: &str = "keep_over";
