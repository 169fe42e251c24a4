use super::*;
use crate::answer::LONG;

const JSON: OutputMode = OutputMode::Json;
const TEXT: OutputMode = OutputMode::Text;
const LINES: OutputMode = OutputMode::Lines;
const JSON_LINES: OutputMode = OutputMode::JsonLines;
const HARP: OutputMode = OutputMode::Harp { stream: true };
const HARP_ONE: OutputMode = OutputMode::Harp { stream: false };

/// Packets and end of an output that is written in pieces of `cut` bytes.
fn decode(
    mode: OutputMode,
    limit: usize,
    written: &[u8],
    cut: usize,
) -> (Vec<String>, Result<Message, Failure>) {
    let mut output = mode.start(limit);
    let mut packets = Vec::new();
    let fed = written
        .chunks(cut)
        .try_for_each(|piece| output.feed(piece, &mut packets));
    let end = fed.and_then(|()| output.succeeded(&mut packets));
    let packets = packets.into_iter().map(|packet| value(packet).to_string());
    (packets.collect(), end.map(message))
}

fn value(packet: Packet) -> Json {
    match packet {
        Packet::Short(value) => value,
        Packet::Long(line) => match decoded(line) {
            Message::Stream(value) => value,
            other => panic!("{other:?}"),
        },
    }
}

fn message(answer: Answer) -> Message {
    match answer {
        Answer::Short(message) => message,
        Answer::Long { line, .. } => decoded(line),
    }
}

fn decoded(line: Stash) -> Message {
    let line = Bytes::from(line.read_all().unwrap());
    Message::decode(&line.slice(..line.len() - 1)).unwrap()
}

fn result(text: &str) -> Result<Message, Failure> {
    Ok(Message::Result(text.parse().unwrap()))
}

#[test]
fn output_becomes_packets_and_a_result() {
    let table: [(OutputMode, &[u8], &[&str], &str); 18] = [
        (JSON, b"", &[], "null"),
        (JSON, b"\n", &[], "null"),
        (
            JSON,
            b" { \"b\" : 1.0,\n \"a\" : \"x y\" }\n",
            &[],
            r#"{"b":1.0,"a":"x y"}"#,
        ),
        (JSON, b"12345678901234567890", &[], "12345678901234567890"),
        (TEXT, b"", &[], r#""""#),
        (TEXT, b"a\n\"b\"", &[], r#""a\n\"b\"""#),
        (TEXT, b"a\xffb", &[], "\"a\u{fffd}b\""),
        (LINES, b"", &[], r#"{"exit_code":0}"#),
        (
            LINES,
            b"a\n\nb",
            &[r#""a""#, r#""""#, r#""b""#],
            r#"{"exit_code":0}"#,
        ),
        (
            LINES,
            b"a\r\n\r\r\n\r",
            &[r#""a\r""#, r#""\r\r""#, r#""\r""#],
            r#"{"exit_code":0}"#,
        ),
        (LINES, b"\xff\n", &["\"\u{fffd}\""], r#"{"exit_code":0}"#),
        (JSON_LINES, b"", &[], "null"),
        (
            JSON_LINES,
            b"1\n{\"a\": [ ]}\n\"x\"",
            &["1", r#"{"a":[]}"#, r#""x""#],
            "null",
        ),
        (HARP, b"{\"result\": 1}\n", &[], "1"),
        (HARP, b"{\"result\":null}", &[], "null"),
        (
            HARP,
            b"{\"stream\":1}\n{\"stream\":2}\n{\"result\":3}\n",
            &["1", "2"],
            "3",
        ),
        (HARP_ONE, b"{\"result\":[]}\n", &[], "[]"),
        (HARP_ONE, b"{\"result\":[ ]}\r\n", &[], "[]"),
    ];
    for (mode, written, packets, end) in table {
        for cut in [1, 2, 1000] {
            let shown = String::from_utf8_lossy(written);
            let got = decode(mode, 1000, written, cut);
            assert_eq!(got.0, packets, "{mode:?} {shown}");
            assert_eq!(got.1, result(end), "{mode:?} {shown}");
        }
    }
}

#[test]
fn output_that_does_not_fit_is_an_exception_that_shows_it() {
    let deep = "[".repeat(200);
    let table: [(OutputMode, &[u8], &[&str], &str); 12] = [
        (JSON, b"{", &[], "{"),
        (JSON, b"1 2", &[], "1 2"),
        (JSON, b"hello", &[], "hello"),
        (JSON, b"\"\xff\"", &[], "\"\u{fffd}\""),
        (JSON, deep.as_bytes(), &[], &deep),
        (JSON_LINES, b"1\nno\n2\n", &["1"], "no"),
        (JSON_LINES, b"1\n\n2\n", &["1"], ""),
        (HARP, b"{\"stream\":1}\n", &["1"], ""),
        (
            HARP,
            b"{\"result\":1}\n{\"stream\":2}\n",
            &[],
            "{\"stream\":2}",
        ),
        (
            HARP,
            b"{\"harp\":1,\"error\":{\"type\":\"t\",\"message\":\"m\"}}\n",
            &[],
            "{\"harp\":1,\"error\":{\"type\":\"t\",\"message\":\"m\"}}",
        ),
        (
            HARP_ONE,
            b"{\"stream\":1}\n{\"result\":2}\n",
            &[],
            "{\"stream\":1}",
        ),
        (HARP_ONE, b"", &[], ""),
    ];
    for (mode, written, packets, line) in table {
        for cut in [1, 1000] {
            let shown = String::from_utf8_lossy(written);
            let got = decode(mode, 1000, written, cut);
            assert_eq!(got.0, packets, "{mode:?} {shown}");
            let failure = got.1.unwrap_err();
            assert_eq!(failure.error_type, "invalid_output", "{mode:?} {shown}");
            let data: serde_json::Value = failure.data.unwrap().decode().unwrap();
            assert_eq!(data["line"], line, "{mode:?} {shown}");
        }
    }
}

#[test]
fn one_result_or_packet_is_limited_and_never_the_sum() {
    let table: [(OutputMode, &[u8], &[u8]); 5] = [
        (JSON, b"\"12\"", b"\"123\""),
        (TEXT, b"12", b"123"),
        (LINES, b"12\n34\n56\n", b"12\n123\n"),
        (JSON_LINES, b"1234\n\"ab\"\n", b"12345\n"),
        (
            HARP,
            b"{\"stream\":1234}\n{\"stream\":1234}\n{\"result\":1}\n",
            b"{\"stream\":12345}\n",
        ),
    ];
    for (mode, fits, exceeds) in table {
        for cut in [1, 1000] {
            decode(mode, 4, fits, cut).1.unwrap();
            let failure = decode(mode, 4, exceeds, cut).1.unwrap_err();
            assert_eq!(failure.error_type, "output_too_large", "{mode:?}");
        }
    }
}

#[test]
fn an_exception_line_is_the_end_whatever_the_exit_code() {
    let line = br#"{"exception":{"type":"t","message":"m","data":[1]}}"#;
    let expected = Failure {
        error_type: "t".into(),
        message: "m".into(),
        data: Some("[1]".parse().unwrap()),
    };
    let (_, end) = decode(HARP_ONE, 1000, line, 1000);
    assert_eq!(end, Ok(Message::Exception(expected.clone())));

    let mut output = HARP_ONE.start(1000);
    output.feed(line, &mut Vec::new()).unwrap();
    let told = output.failed(Exit::Code(1), &mut Vec::new()).map(message);
    assert_eq!(told, Some(Message::Exception(expected)));
}

#[test]
fn a_failed_command_still_has_its_last_line() {
    let mut output = LINES.start(1000);
    let mut packets = Vec::new();
    output.feed(b"one\ntw", &mut packets).unwrap();
    assert!(output.failed(Exit::Code(1), &mut packets).is_none());
    assert_eq!(packets.len(), 2);
}

#[test]
fn of_a_long_progress_bar_the_newest_state_is_left_however_it_is_cut() {
    let bar: String = (1..=2000).map(|n| format!("state {n}\r")).collect();
    for cut in [7, 100, 1000, 4096, 100_000] {
        let (packets, end) = decode(LINES, 1024, format!("{bar}\nend\n").as_bytes(), cut);
        assert_eq!(packets, [r#""state 2000\r""#, r#""end""#], "{cut}");
        assert!(end.is_ok());
    }
}

#[test]
fn a_state_is_shown_once_and_no_line_twice() {
    for (pieces, expected) in [
        // A state behind another, one that has been shown, and what is left at the end.
        (
            &["1\r2\r", "3\r", "3\r", "\nx\n"][..],
            &["2\r", "3\r", "x"][..],
        ),
        // Each begins with the \r.
        (&["\r1", "\r2", "\r2", "\n"], &["1\r", "2\r", "2"]),
        (&["\r", "\r\r", "\n"], &["\r\r\r"]),
        // A line that is not written again has no states.
        (&["a", "b\n", "c"], &["ab", "c"]),
        (&["a\r", "\n"], &["a\r"]),
        (&["1\r2", "3\r4"], &["2\r", "4\r", "4"]),
    ] {
        let mut output = LINES.start(1000);
        let mut packets = Vec::new();
        for piece in pieces {
            output.feed(piece.as_bytes(), &mut packets).unwrap();
            if output.has_state() {
                output.show_state(&mut packets).unwrap();
            }
        }
        output.succeeded(&mut packets).unwrap();
        let packets = packets.into_iter().map(|packet| value(packet).decode());
        let packets: Vec<String> = packets.map(Result::unwrap).collect();
        assert_eq!(packets, expected, "{pieces:?}");
    }
}

/// Text of about `length` bytes that is cut at awkward places: characters of one to four
/// bytes, half ones, and what is escaped.
fn awkward(length: usize) -> Vec<u8> {
    let part = [
        "a\u{e9}\u{20ac}\u{1f600}\"\\\t\u{1}".as_bytes(),
        b"\xff\xe2\x82x\xf0\x9f",
    ]
    .concat();
    part.iter().copied().cycle().take(length).collect()
}

#[test]
fn what_is_long_is_what_it_would_be_if_it_were_short() {
    const LIMIT: usize = 10 << 20;
    for length in [LONG - 1, LONG, LONG + 1, 5 * LONG, 300_000] {
        let text = awkward(length);
        let string = Json::encode(String::from_utf8_lossy(&text).as_ref()).unwrap();
        let pretty = string.as_str().replace("\\t", "\\t\",\n  \"");
        let json = format!("[ {pretty} ]");
        let compact: Json = json.parse().unwrap();
        let lines = |line: &[u8]| [b"1\n", line, b"\n2"].concat();
        for cut in [1000, 4096, 16384, 1 << 20] {
            let (packets, end) = decode(TEXT, LIMIT, &text, cut);
            assert!(packets.is_empty() && end.unwrap() == Message::Result(string.clone()));
            let (_, end) = decode(JSON, LIMIT, json.as_bytes(), cut);
            assert!(end.unwrap() == Message::Result(compact.clone()));
            let (packets, _) = decode(LINES, LIMIT, &lines(&text), cut);
            assert!(packets == ["\"1\"", string.as_str(), "\"2\""]);
            let one_line = json.replace('\n', "\r");
            let (packets, _) = decode(JSON_LINES, LIMIT, &lines(one_line.as_bytes()), cut);
            assert!(packets == ["1", compact.as_str(), "2"]);
            let harp = format!("{{\"stream\":{one_line}}}\n{{\"result\":{one_line}}}\r\n");
            let (packets, end) = decode(HARP, LIMIT, harp.as_bytes(), cut);
            assert!(packets == [compact.as_str()]);
            assert!(end.unwrap() == Message::Result(compact.clone()));
            let harp = format!(
                "{{\"exception\":{{\"type\":\"t\",\"message\":\"m\",\"data\":{one_line}}}}}"
            );
            let (_, end) = decode(HARP_ONE, LIMIT, harp.as_bytes(), cut);
            let exception = Failure::new("t", "m").with_data(&compact);
            assert!(end.unwrap() == Message::Exception(exception));
        }
    }
}

#[test]
fn a_long_line_over_the_limit_is_given_up_and_the_next_is_not() {
    const LIMIT: usize = 3 * LONG;
    for mode in [LINES, JSON_LINES] {
        for (length, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            let mut output = mode.start(LIMIT);
            let mut packets = Vec::new();
            let line = [b"1".repeat(length), b"\n2\n".to_vec()].concat();
            let fed: Vec<_> = line
                .chunks(16384)
                .map(|piece| output.feed(piece, &mut packets))
                .filter_map(Result::err)
                .collect();
            // As a JSON string it has two bytes more.
            let fits = fits && mode == JSON_LINES;
            assert_eq!(fed.is_empty(), fits, "{mode:?} {length}");
            assert!(
                fed.iter()
                    .all(|failure| failure.error_type == "output_too_large")
            );
            let last = packets.pop().map(|packet| value(packet).to_string());
            assert!(last.is_some_and(|last| last == "2" || last == "\"2\"") || !fits);
        }
    }
}

#[test]
fn a_progress_bar_behind_a_long_text_is_as_long_as_its_newest_state() {
    const LIMIT: usize = 3 * LONG;
    let text = [
        b"x".repeat(2 * LONG),
        b"\r12 %\r".repeat(100_000),
        b"99 %\n".to_vec(),
    ]
    .concat();
    let (packets, end) = decode(LINES, LIMIT, &text, 16384);
    assert_eq!(packets, ["\"99 %\""]);
    assert!(end.is_ok());
}
