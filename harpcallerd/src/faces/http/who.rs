//! The identity of a request: by a token, by a session, by the certificate or the user that the connection came
//! with, or nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, Uri};
use harp_jobs::client::{Client, Peer, Proof};
use harp_jobs::refusal::Refusal;
use harp_proto::Password;

use super::cross_site;
use super::host::Site;
use super::how::How;
use super::problem::Problem;
use super::proxy::Forwarded;
use super::query::{self, PAGE_KEY, may_have_page_key};
use super::sessions::SessionProof;
use super::settings::Door;
use super::shared::Shared;
use crate::desk::WRONG_TOKEN_DELAY;
use crate::desk::permission::in_time;
use crate::peer_group::PeerGroup;

/// The client of a request, before anything is known but its connection and what a trusted
/// proxy says.
pub(super) fn sender(connected: &Client, door: &Door, forwarded: Option<&Forwarded>) -> Client {
    let mut client = connected.clone();
    client.may_be_stranger = door.may_be_stranger;
    if let Some(forwarded) = forwarded {
        // What the connection proves is who the proxy is.
        (client.identity, client.proof) = (None, None);
        if let Some(sender) = forwarded.sender {
            client.peer = Peer::Network(SocketAddr::new(sender, 0));
        }
    }
    client
}

/// A client, as far as is known who it is.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) client: Client,
    pub(super) how: How,
    /// The session, if it came by one.
    pub(super) session: Option<Arc<SessionProof>>,
}

/// A client of which nothing is to be known yet.
pub(super) fn nobody(client: Client) -> Known {
    Known {
        client,
        how: How::Anonymous,
        session: None,
    }
}

/// The page's half of a session, if it is there: in a header, or in the query of what
/// browsers ask for without headers.
///
/// # Errors
///
/// A problem if the query has it elsewhere, or cannot be read.
pub(super) fn page_key(uri: &Uri, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let header = headers.get("harp-page-key");
    if let Some(header) = header.and_then(|header| header.to_str().ok()) {
        return Ok(Some(header.to_owned()));
    }
    if may_have_page_key(uri.path()) {
        Ok(query::read(uri)?.text(PAGE_KEY)?)
    } else {
        Ok(None)
    }
}

/// Finds out who asks.
///
/// # Errors
///
/// The problem that nobody is known, where that is wanted; that the token is not known, a
/// second later.
pub(super) async fn identify(
    shared: &Shared,
    mut client: Client,
    headers: &HeaderMap,
    site: &Site,
    page_key: Option<&str>,
) -> Result<Known, Problem> {
    let token = token(headers, &client)?;
    if token.is_none()
        && let Some(page_key) = page_key
        && cross_site::is_own_origin(headers, site)
        && let Some(cookie) = cookie(headers, &site.cookie())
        && let session = shared.sessions.of(&cookie, page_key, &shared.desk.tokens)
        && let Some((identity, proof)) = in_time(session).await?
    {
        let proof = Arc::new(proof);
        client.identity = Some(identity);
        client.proof = Some(Arc::clone(&proof) as Arc<dyn Proof>);
        return Ok(Known {
            client,
            how: How::Session,
            session: Some(proof),
        });
    }
    let mut how = match (&client.identity, client.peer) {
        (None, _) => How::Anonymous,
        (Some(_), Peer::Local { .. }) => How::Unix,
        (Some(_), Peer::Network(_)) => How::Certificate,
    };
    if token.is_some() && shared.desk.has_tokens() {
        how = How::Token;
    }
    greet(shared, &mut client, token.as_ref()).await?;
    Ok(Known {
        client,
        how,
        session: None,
    })
}

/// Finds out whose token this is.
///
/// # Errors
///
/// As for [`identify`].
pub(super) async fn greet(
    shared: &Shared,
    client: &mut Client,
    token: Option<&Password>,
) -> Result<(), Problem> {
    if token.is_none() {
        return Ok(shared.desk.greet_at_once(client, None, None).await?);
    }
    let turn = shared.guesses.take(PeerGroup::of(&client.peer));
    let mut guess = in_time(turn)
        .await?
        .ok_or_else(|| Problem::overloaded_peer("this peer has sent many wrong tokens just now"))?;
    let judged = shared.desk.greet_at_once(client, token, None).await;
    if matches!(judged, Err(Refusal::UnknownToken)) {
        guess.is_wrong();
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
    }
    Ok(judged?)
}

/// The value of a cookie.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter();
    let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    let mut cookies = cookies.flat_map(|cookies| cookies.split(';'));
    cookies.find_map(|cookie| {
        let (there, value) = cookie.trim().split_once('=')?;
        (there == name).then(|| value.to_owned())
    })
}

/// The token that a request has in its head.
fn token(headers: &HeaderMap, client: &Client) -> Result<Option<Password>, Problem> {
    const NAME: &str = "authorization";
    let mut said = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = said.next() else {
        return Ok(None);
    };
    if said.next().is_some() {
        return Err(Problem::field(NAME, "stands here more than once"));
    }
    let header = header.to_str();
    let header = header.map_err(|_| Problem::field(NAME, "must be text"))?;
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(Password::new(rest.to_owned())));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let basic = base64(rest).and_then(|bytes| String::from_utf8(bytes).ok());
        let basic = basic.and_then(|pair| {
            let (_, password) = pair.split_once(':')?;
            Some(password.to_owned())
        });
        let password = basic.ok_or_else(|| Problem::field(NAME, "must be USER:TOKEN in base64"))?;
        // The user's name may name a worker, without any token.
        let is_none = password.is_empty() && client.may_be_stranger;
        return Ok((!is_none).then(|| Password::new(password)));
    }
    Err(Problem::unauthorized(
        "send a token by Authorization: Bearer TOKEN, or Basic with the token as password",
    ))
}

/// The name of the user of a basic authentication, which is no identity.
pub(super) fn basic_user(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = said.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(base64(rest.trim())?).ok()?;
    let (user, _) = pair.split_once(':')?;
    Some(user.to_owned())
}

/// Undoes base64 (RFC 4648), with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_undone() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("dXNlcjp0b2tlbg==", b"user:token"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("a b"), None);
    }
}
