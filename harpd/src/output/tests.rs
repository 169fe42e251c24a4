use super::*;

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
    (packets.iter().map(ToString::to_string).collect(), end)
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
    assert_eq!(
        output.failed(Exit::Code(1), &mut Vec::new()),
        Some(expected)
    );
}

#[test]
fn a_failed_command_still_has_its_last_line() {
    let mut output = LINES.start(1000);
    let mut packets = Vec::new();
    output.feed(b"one\ntw", &mut packets).unwrap();
    assert_eq!(output.failed(Exit::Code(1), &mut packets), None);
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
        let packets: Vec<String> = packets.iter().map(|it| it.decode().unwrap()).collect();
        assert_eq!(packets, expected, "{pieces:?}");
    }
}
