//! What is said of output that is longer than it may be.

use harp_proto::Failure;

/// Output over the limit.
pub(crate) fn too_large(limit: usize) -> Failure {
    Failure::new(
        "output_too_large",
        format!("a result or packet of the procedure is longer than {limit} bytes, its max_output"),
    )
    .with_data(&serde_json::json!({ "limit": limit }))
}
