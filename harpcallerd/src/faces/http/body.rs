//! A request's body: JSON of bounded length, in time, within the memory that large requests of
//! clients share.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use harp_budget::Share;
use harp_proto::{LINE_ALLOWANCE, MAX_DEPTH};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::shared::{Asked, Shared};
use crate::faces::connection::COPIES;

/// Bodies up to this length hold nothing of the budget, as short lines do not.
const SMALL: usize = LINE_ALLOWANCE;

/// A body that has not been read.
#[derive(Debug)]
pub(super) struct Sent {
    headers: HeaderMap,
    body: Body,
}

/// A body that has been read, with what it holds of the budget.
#[derive(Debug)]
pub(super) struct Whole {
    /// JSON as far as is known: not looked at yet.
    pub(super) text: Bytes,
    _share: Share,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Sent, Problem> {
        let (parts, body) = request.into_parts();
        Ok(Sent {
            headers: parts.headers,
            body,
        })
    }
}

impl Sent {
    /// The headers of the request.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Reads the body, which says that it is JSON.
    ///
    /// # Errors
    ///
    /// A problem if it is something else, too long, or too slow.
    pub(super) async fn json(self, shared: &Shared, asked: &Asked) -> Result<Whole, Problem> {
        let most = shared.desk.longest_request(&asked.client);
        self.json_up_to(most.unwrap_or(0), shared, asked).await
    }

    /// Reads the body, of which `most` bytes are a user's at most.
    ///
    /// # Errors
    ///
    /// As for [`Sent::json`].
    pub(super) async fn json_up_to(
        self,
        most: usize,
        shared: &Shared,
        asked: &Asked,
    ) -> Result<Whole, Problem> {
        if !is_json(&self.headers) {
            return Err(Problem::unsupported_media_type().and_close());
        }
        self.read(most, shared, asked).await
    }

    /// Reads a body that may be missing.
    ///
    /// # Errors
    ///
    /// As for [`Sent::json`].
    pub(super) async fn optional_json(
        self,
        shared: &Shared,
        asked: &Asked,
    ) -> Result<Option<Whole>, Problem> {
        let is_json = is_json(&self.headers);
        let most = shared.desk.longest_request(&asked.client).unwrap_or(0);
        let whole = self.read(most, shared, asked).await?;
        match whole.text.trim_ascii().is_empty() {
            true => Ok(None),
            false if !is_json => Err(Problem::unsupported_media_type()),
            false => Ok(Some(whole)),
        }
    }

    /// Reads a body whatever it says that it is; and whether it says that it is JSON.
    ///
    /// # Errors
    ///
    /// As for [`Sent::json`].
    pub(super) async fn any(
        self,
        shared: &Shared,
        asked: &Asked,
    ) -> Result<(Whole, bool), Problem> {
        let is_json = is_json(&self.headers);
        let most = shared.desk.longest_request(&asked.client).unwrap_or(0);
        let whole = self.read(most, shared, asked).await?;
        Ok((whole, is_json))
    }

    async fn read(mut self, most: usize, shared: &Shared, asked: &Asked) -> Result<Whole, Problem> {
        let longest = most.saturating_add(LINE_ALLOWANCE);
        let too_long = || {
            let refusal = shared.desk.refuse_longer(&asked.client, most);
            Problem::from(refusal).and_close()
        };
        let announced = self.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > longest) {
            return Err(too_long());
        }
        let mut share = shared.memory.share(&asked.client);
        let mut text = BytesMut::new();
        let mut by = asked.whole_by;
        loop {
            let frame = tokio::select! {
                biased;
                frame = timeout_at(by, self.body.frame()) => frame,
                () = share.gave_way() => return Err(gave_way()),
            };
            let frame = match frame {
                Err(_) => {
                    return Err(Problem::too_slow(
                        "the body did not come within request_timeout",
                    ));
                }
                Ok(None) => break,
                // Nobody is there any more to be told.
                Ok(Some(Err(error))) => {
                    return Err(
                        Problem::invalid(format!("the body has broken off: {error}")).and_close(),
                    );
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = text.len() + data.len();
            if length > longest {
                return Err(too_long());
            }
            if length > SMALL {
                let waited = Instant::now();
                // What is asked for grows by doubling, as the memory behind it does.
                let wanted = length.next_power_of_two().min(longest);
                share.hold(wanted).await.map_err(|_| gave_way())?;
                by += waited.elapsed();
            }
            if text.is_empty() {
                // Room for all of it at once, where its length is known.
                text.reserve(announced.unwrap_or(0).min(SMALL).max(data.len()));
            }
            text.extend_from_slice(&data);
            share.moved(data.len());
        }
        if share.is_held() {
            let wanted = COPIES * text.len();
            share.hold(wanted).await.map_err(|_| gave_way())?;
            share.settle();
        }
        Ok(Whole {
            text: text.freeze(),
            _share: share,
        })
    }
}

fn gave_way() -> Problem {
    Problem::too_slow("it came too slowly while others waited for its memory (client_memory)")
}

fn is_json(headers: &HeaderMap) -> bool {
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let said = said.unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// True if arrays and objects nest deeper in a text than a value of a user may in a body.
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match text[at] {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                at += 1;
                while at < text.len() && text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        // The body's own object is one level more.
        if depth > MAX_DEPTH + 1 {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(nested(MAX_DEPTH + 1).as_bytes()));
        assert!(is_too_deep(nested(MAX_DEPTH + 2).as_bytes()));
        let quoted = format!("\"\\\"{}\"", "[".repeat(500));
        assert!(!is_too_deep(quoted.as_bytes()));
        assert!(!is_too_deep(b"\"\\"));
    }

    #[test]
    fn json_is_told_by_its_type() {
        let is = |said: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, said.parse().unwrap());
            is_json(&headers)
        };
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/jsonx") && !is_json(&HeaderMap::new()));
    }
}
