//! The extensions that a dispatcher names in its answer to `hello`, by their names on the
//! wire (client protocol, section 8).

/// The connection takes further requests.
pub const KEEP_ALIVE: &str = "keep_alive";
/// Packets can come with their time.
pub const TIMESTAMPS: &str = "timestamps";
/// `read_stream` takes `limit`.
pub const LIMIT: &str = "limit";
/// A call takes `key`.
pub const KEY: &str = "key";
/// With `key`, a call takes `unless_since`.
pub const UNLESS_SINCE: &str = "unless_since";
/// A call takes `start_by`.
pub const START_BY: &str = "start_by";
/// A cancel takes `confirm`.
pub const CONFIRM: &str = "confirm";
/// A call takes `limits`.
pub const LIMITS: &str = "limits";
/// `get_status` takes `evidence`.
pub const EVIDENCE: &str = "evidence";
/// `get_status` takes `snapshot`.
pub const SNAPSHOT: &str = "snapshot";
/// There are `list_jobs`, `list_queues` and `list_hosts`.
pub const LIST: &str = "list";
/// There is `list_procedures`.
pub const DESCRIBE: &str = "describe";
/// A call takes `traceparent`.
pub const TRACEPARENT: &str = "traceparent";
/// `hello` takes a `token`: in force only where tokens are known.
pub const TOKEN: &str = "token";

/// The extensions that this release's dispatcher has in force whatever its configuration
/// says, in the order in which it names them.
pub const ALWAYS: [&str; 13] = [
    KEEP_ALIVE,
    TIMESTAMPS,
    LIMIT,
    KEY,
    UNLESS_SINCE,
    START_BY,
    CONFIRM,
    LIMITS,
    LIST,
    DESCRIBE,
    TRACEPARENT,
    EVIDENCE,
    SNAPSHOT,
];
