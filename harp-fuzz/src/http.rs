//! HTTP: what is taken out of addresses, heads and bodies before anything is done.

use bytes::{Bytes, BytesMut};
use harp_proto::Traceparent;
use harp_proto::client::{Request, body};
use harpcallerd::faces::http::host::Site;
use harpcallerd::faces::http::query;
use harpcallerd::faces::listing::cursor::Question;
use harpcallerd::faces::listing::names::NameFault;
use harpcallerd::faces::listing::{hosts, jobs, procedures, queues};

use crate::input::Input;
use crate::lines::only_line;

/// One part of a request, which the first byte chooses.
pub(crate) fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let part = input.byte();
    let rest = input.rest();
    match part % 4 {
        0 => address(rest),
        1 => body_of(rest),
        2 => host(rest),
        _ => trace(rest),
    }
}

/// A query, asked of every list. What is wrong is told by the name that it is wrong with.
fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(names) = query::names(text) else {
        return;
    };
    let known = |fault: &NameFault| {
        let there = names.as_slice().iter().any(|(name, _)| *name == fault.name);
        // One that is missing is told too, and paths by what stands before them.
        assert!(there || fault.name == "name", "{fault}");
    };
    let jobs = jobs::Asked::take(names.clone());
    if let Ok(asked) = &jobs {
        assert!((1..=1000).contains(&asked.find.limit));
    }
    let _ = jobs.as_ref().map_err(known);
    let _ = queues::Asked::take(names.clone()).as_ref().map_err(known);
    let _ = queues::JobsAsked::take(names.clone())
        .as_ref()
        .map_err(known);
    let _ = hosts::Asked::take(names.clone()).as_ref().map_err(known);
    let _ = procedures::Asked::take(names.clone(), None)
        .as_ref()
        .map_err(known);
    // A cursor leads back to its place, and to that of no other list.
    let (question, other) = (Question::of("jobs", &names), Question::of("hosts", &names));
    let cursor = question.cursor(data);
    assert_eq!(question.place(&cursor).as_deref(), Ok(data));
    assert!(other.place(&cursor).is_err());
    let _ = question.place(text);
}

/// A body, as every request would take it.
fn body_of(data: &[u8]) {
    let text = Bytes::copy_from_slice(data);
    if let Ok(call) = body::call(&text, None) {
        // By the client protocol it is an equal call.
        let request = Request::Call(Box::new(call));
        let mut out = BytesMut::new();
        request.encode(&mut out);
        let line = only_line(out);
        assert_eq!(Request::decode(&line), Ok(request));
    }
    let known = body::call(&text, Some("k".to_owned()));
    if let Ok(call) = known {
        assert_eq!(call.key.as_deref(), Some("k"));
    }
    let _ = body::confirm(&text);
    let _ = body::queue_name(&text);
    let _ = body::token(&text);
    let _ = body::nothing(&text);
}

/// The header `Host`.
fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for is_tls in [false, true] {
        let Some(site) = Site::parse(text, is_tls) else {
            continue;
        };
        let host = if site.host.contains(':') {
            format!("[{}]", site.host)
        } else {
            site.host.clone()
        };
        let written = format!("{host}:{}", site.port);
        assert_eq!(
            Site::parse(&written, is_tls).as_ref(),
            Some(&site),
            "{text}"
        );
        let scheme = if is_tls { "https" } else { "http" };
        assert!(site.is_origin(&format!("{scheme}://{written}")));
        assert!(!site.is_origin(text));
    }
}

/// The header `traceparent`.
fn trace(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(trace) = text.parse::<Traceparent>() {
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert_eq!(trace.to_string()[2..53], text[2..53]);
    }
}
