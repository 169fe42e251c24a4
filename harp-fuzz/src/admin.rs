//! Requests of the administrative socket.

use harpcallerd::faces::admin::request::AdminRequest;

/// A request's line.
pub(crate) fn request(data: &[u8]) {
    let request = match AdminRequest::decode(data) {
        Ok(request) => request,
        Err(error) => {
            let length = error.to_string().len();
            assert!(length <= 12 * data.len() + 1024, "{length} bytes");
            return;
        }
    };
    let line = serde_json::to_vec(&request).expect("a request can be written");
    let again = AdminRequest::decode(&line).expect("what was written is a request");
    assert_eq!(again, request);
}
