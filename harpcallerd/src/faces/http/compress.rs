//! gzip for whoever asks for it: pages, and downloads as they come.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;

/// Shorter bodies are not worth it, in bytes.
const LEAST: u64 = 1024;

/// An answer that is never compressed: what a stranger makes part of it and what is secret
/// in it would tell of each other by the length, or it has to arrive piece by piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

/// Compresses an answer if the request takes that and it is worth it.
pub(super) fn if_asked(takes_gzip: bool, mut response: Response<Body>) -> Response<Body> {
    let is_worth = response
        .body()
        .size_hint()
        .exact()
        .is_none_or(|length| length >= LEAST);
    let is_plain = response.extensions().get::<Plain>().is_some()
        || response.headers().contains_key(header::CONTENT_ENCODING);
    if is_plain || !is_worth {
        return response;
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !takes_gzip {
        return response;
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(header::CONTENT_LENGTH);
    response.map(|body| {
        Body::new(Gzip {
            body,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        })
    })
}

/// True if whoever asks takes an answer in that form.
pub(super) fn takes_gzip(asked: &HeaderMap) -> bool {
    let said = asked.get_all(header::ACCEPT_ENCODING);
    let said = said.iter().filter_map(|said| said.to_str().ok());
    said.flat_map(|said| said.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_none = weight.trim().strip_prefix("q=").is_some_and(|weight| {
            weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight <= 0.0)
        });
        name.trim().eq_ignore_ascii_case("gzip") && !is_none
    })
}

/// A body that is compressed as it comes: what has come is sent, not kept back.
struct Gzip {
    body: Body,
    /// `None` behind the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl HttpBody for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(None);
            };
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let written = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => encoder
                        .write_all(&data)
                        .and_then(|()| encoder.flush())
                        .map(|()| std::mem::take(encoder.get_mut())),
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => match this.encoder.take() {
                    Some(encoder) => encoder.finish(),
                    None => return Poll::Ready(None),
                },
            };
            // Into memory, where nothing fails.
            return Poll::Ready(Some(match written {
                Ok(bytes) => Ok(Frame::data(bytes.into())),
                Err(error) => Err(axum::Error::new(error)),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_by_who_says_so() {
        let takes = |said: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, said.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate,gzip"));
        assert!(!takes("gzip;q=0") && !takes("br") && !takes_gzip(&HeaderMap::new()));
    }
}
