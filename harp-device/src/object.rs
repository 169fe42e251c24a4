//! The body of what a device says.

use bytes::Bytes;

/// The object of a body: some versions put it into a string, as JSON within JSON.
pub(crate) fn object(body: &Bytes) -> Option<Bytes> {
    let begins_with = |text: &[u8], byte| text.trim_ascii_start().first() == Some(&byte);
    let body = if begins_with(body, b'"') {
        Bytes::from(serde_json::from_slice::<String>(body).ok()?)
    } else {
        body.clone()
    };
    begins_with(&body, b'{').then_some(body)
}
