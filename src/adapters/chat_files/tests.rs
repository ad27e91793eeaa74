//! Every shape and every refusal, on real files.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> File {
    let folder = tempfile::tempdir().unwrap();
    // The name says nothing: the content must.
    let path = folder.path().join("chat.bin");
    fs::write(&path, bytes).unwrap();
    File { _folder: folder, path }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read_with(
    bytes: &[u8],
    limits: ChatFileLimits,
) -> Result<(Vec<ChatLine>, ChatFileReport), ChatFileError> {
    let file = file(bytes);
    let mut lines = Vec::new();
    let report = read_chat(&file.path, limits, &mut |line| {
        lines.push(line);
        ControlFlow::Continue(())
    })?;
    assert_eq!(report.messages, lines.len() as u64);
    Ok((lines, report))
}

fn read(bytes: impl AsRef<[u8]>) -> Result<(Vec<ChatLine>, ChatFileReport), ChatFileError> {
    read_with(bytes.as_ref(), ChatFileLimits::default())
}

fn refused(bytes: impl AsRef<[u8]>) -> ChatFileError {
    read(bytes).expect_err("the file must be refused")
}

#[track_caller]
fn check_texts(bytes: impl AsRef<[u8]>, format: ChatFormat, expected: &[(i64, &str, &str)]) {
    let (lines, report) = read(bytes).unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            (line.offset_ms, line.display_name.as_deref().unwrap_or("-"), line.text.as_str())
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(report.format, format);
}

fn comment(id: &str, seconds: &str, body: &str) -> String {
    format!(
        r##"{{"_id":"{id}","created_at":"2026-11-20T20:00:00Z","channel_id":"1","content_type":"video","content_offset_seconds":{seconds},"commenter":{{"display_name":"Léa","_id":"42","name":"lea","bio":"a \"b\" {{]","logo":null}},"message":{{"body":"{body}","bits_spent":100,"fragments":[{{"text":"{body}","emoticon":null}}],"user_badges":[{{"_id":"moderator","version":"1"}}],"user_color":"#FF0000","emoticons":[]}}}}"##
    )
}

fn export(comments: &str) -> String {
    format!(
        r#"{{"FileInfo":{{"Version":{{"Major":1,"Minor":4,"Patch":0}}}},"streamer":{{"name":"villa","id":77}},"video":{{"title":"Soirée","description":null,"id":"99","created_at":"2026-11-20T20:00:00Z","start":10,"end":250.5,"length":300,"chapters":[{{"id":"c","title":"no"}}]}},"comments":[{comments}],"embeddedData":{{"thirdParty":[{{"id":"x","data":"AAAA"}}],"firstParty":[]}}}}"#
    )
}

#[test]
fn a_twitch_downloader_export_is_read_with_its_video() {
    let text = export(&format!(
        "{},\n  {}",
        comment("a", "1.25", "salut \\u00e0 tous"),
        comment("b", "2", "PogChamp")
    ));

    let (lines, report) = read(text).unwrap();

    assert_eq!(
        lines[0],
        ChatLine {
            offset_ms: 1250,
            message_id: Some("a".into()),
            user_id: Some("42".into()),
            login: Some("lea".into()),
            display_name: Some("Léa".into()),
            text: "salut à tous".into(),
            trusted: true,
            bits: 100,
        }
    );
    assert_eq!(report.format, ChatFormat::TwitchDownloader);
    assert_eq!((report.messages, report.first_ms, report.last_ms), (2, 1250, 2000));
    let video = report.video.unwrap();
    assert_eq!(video.title.as_deref(), Some("Soirée"));
    assert_eq!(video.id.as_deref(), Some("99"));
    assert_eq!(video.streamer.as_deref(), Some("villa"));
    assert_eq!(
        (video.start_ms, video.end_ms, video.length_ms),
        (Some(10_000), Some(250_500), Some(300_000))
    );
    assert_eq!(video.created_at.as_deref(), Some("2026-11-20T20:00:00Z"));
}

#[test]
fn an_export_with_a_byte_order_mark_and_windows_lines_is_read() {
    let text = format!("\u{feff}{}", export(&comment("a", "1", "x")).replace(',', ",\r\n"));
    check_texts(text, ChatFormat::TwitchDownloader, &[(1000, "Léa", "x")]);
}

#[test]
fn api_pages_are_read_alone_one_after_another_and_gzipped() {
    let page = |comments: String| format!(r#"{{"comments":[{comments}],"_next":"abc"}}"#);
    let (one, two) = (page(comment("a", "1", "x")), page(comment("b", "2", "y")));
    let expected = [(1000, "Léa", "x"), (2000, "Léa", "y")];
    check_texts(&one, ChatFormat::TwitchComments, &expected[..1]);
    check_texts(format!("{one}\n{two}\n"), ChatFormat::TwitchComments, &expected);
    check_texts(format!("[{one},{two}]"), ChatFormat::TwitchComments, &expected);
    check_texts(gzip(format!("{one}{two}").as_bytes()), ChatFormat::TwitchComments, &expected);
    let members = [gzip(one.as_bytes()), gzip(two.as_bytes())].concat();
    check_texts(members, ChatFormat::TwitchComments, &expected);
}

#[test]
fn a_bare_list_of_comments_is_read() {
    let text = format!("[\n {},\n null\n]", comment("a", "1", "x"));
    check_texts(text, ChatFormat::TwitchComments, &[(1000, "Léa", "x")]);
}

#[test]
fn graphql_answers_are_read() {
    let edge = |id: &str, seconds: u32, who: &str| {
        format!(
            r#"{{"__typename":"VideoCommentEdge","cursor":"c","node":{{"id":"{id}","commenter":{who},"contentOffsetSeconds":{seconds},"createdAt":"x","message":{{"fragments":[{{"emote":null,"text":"bravo "}},{{"emote":{{"id":"1"}},"text":"KEKW"}}],"userBadges":[{{"id":"bTs=","setID":"broadcaster","version":"1"}}],"userColor":null}}}}}}"#
        )
    };
    let who = r#"{"id":"42","login":"lea","displayName":"Léa"}"#;
    let answer = |edges: String| {
        format!(
            r#"{{"data":{{"video":{{"id":"9","creator":{{"id":"77"}},"comments":{{"edges":[{edges}],"pageInfo":{{"hasNextPage":true}}}}}}}},"extensions":{{"operationName":"VideoCommentsByOffsetOrCursor"}}}}"#
        )
    };
    let one = answer(edge("a", 3, who));
    let two = answer(edge("b", 4, "null"));
    let expected = [(3000, "Léa", "bravo KEKW"), (4000, "-", "bravo KEKW")];

    check_texts(&one, ChatFormat::TwitchGraphql, &expected[..1]);
    check_texts(format!("[{one},{two}]"), ChatFormat::TwitchGraphql, &expected);
    check_texts(
        format!("[{},{}]", edge("a", 3, who), edge("b", 4, "null")),
        ChatFormat::TwitchGraphql,
        &expected,
    );
    let (lines, _) = read(one).unwrap();
    assert!(lines[0].trusted);
    assert_eq!(lines[0].login.as_deref(), Some("lea"));
}

#[test]
fn tables_are_read_with_tabs_commas_and_semicolons() {
    let expected = [(1500, "u1", "salut, toi"), (62_000, "u2", "il a dit \"non\"; fin")];
    check_texts(
        "1.5\tu1\tsalut, toi\r\n\r\n1:02\tu2\til a dit \"non\"; fin",
        ChatFormat::Tsv,
        &expected,
    );
    check_texts(
        "seconds,user,text\n1.5,u1,\"salut, toi\"\n0:01:02,u2,\"il a dit \"\"non\"\"; fin\"\n",
        ChatFormat::Csv,
        &expected,
    );
    check_texts(
        "\u{feff}1,5;u1;salut, toi\n\"00:01:02.000\";\"u2\";\"il a dit \"\"non\"\"; fin\"",
        ChatFormat::Csv,
        &expected,
    );
    check_texts("1.5,u1,salut, toi\n62,u2,il a dit \"non\"; fin\n", ChatFormat::Csv, &expected);
    check_texts(gzip(b"1.5\tu1\tsalut, toi\n"), ChatFormat::Tsv, &expected[..1]);
}

#[test]
fn a_header_may_put_the_columns_in_any_order() {
    check_texts(
        "id;message;couleur;user_name;time\n7;\"deux\nlignes\";rouge;anna;[0:00:03]\n7;encore;bleu;anna;4\n",
        ChatFormat::Csv,
        &[(3000, "anna", "deux\nlignes")],
    );
}

#[test]
fn what_cannot_be_used_is_left_out_and_counted() {
    let text = export(
        &[
            comment("a", "5", "x"),
            comment("a", "5", "x"),
            comment("b", "-3.5", "too early"),
            comment("c", "4", "late in the file"),
            comment("d", "6", "  "),
            comment("e", "6", "nul \\u0000 byte"),
        ]
        .join(","),
    );
    let (lines, report) = read(text).unwrap();
    assert_eq!(report.messages, 3);
    assert_eq!(report.duplicates, 1);
    assert_eq!(report.before_start, 1);
    assert_eq!(report.out_of_order, 1);
    assert_eq!(report.without_text, 1);
    assert_eq!(lines[2].text, "nul \u{fffd} byte");
}

#[test]
fn half_an_emoji_does_not_refuse_a_stream() {
    let text = export(
        &[comment("a", "1", r"fin \ud83d"), comment("b", "2", r"\udc00 \ud83d\ude00 \\ \ud83dé")]
            .join(","),
    );
    check_texts(
        text,
        ChatFormat::TwitchDownloader,
        &[(1000, "Léa", "fin \u{fffd}"), (2000, "Léa", "\u{fffd} 😀 \\ \u{fffd}é")],
    );
}

#[test]
fn an_absent_file_and_a_folder_are_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("none.json"), folder.path().to_owned()] {
        let answer =
            read_chat(&path, ChatFileLimits::default(), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(answer, Err(ChatFileError::Unreadable { .. })), "{answer:?}");
    }
}

#[test]
fn an_empty_chat_is_refused() {
    for text in ["", "\n \n", "\u{feff}", "[]", r#"{"comments":[]}"#, "seconds,user,text\n"] {
        assert!(matches!(refused(text), ChatFileError::Empty { .. }), "{text:?}");
    }
    let early = export(&comment("a", "-1", "x"));
    assert!(matches!(refused(early), ChatFileError::Empty { before_start: 1, .. }));
}

#[test]
fn other_files_are_refused_with_what_to_give_instead() {
    for bytes in [
        &b"\x00\x00\x00\x20ftypisom\x00\x00"[..],
        b"PK\x03\x04\x14\x00",
        b"Dear diary, today, nothing",
        b"[0:00:12] anna: salut",
        b"{\"streams\":[1,2]}",
        b"{}",
    ] {
        let error = refused(bytes);
        assert!(matches!(error, ChatFileError::Unrecognised { .. }), "{error}");
        assert!(error.to_string().contains("TwitchDownloader"));
    }
}

#[test]
fn a_cut_export_is_broken_json_with_its_place() {
    let whole = export(&comment("a", "1", "x"));
    for end in 1..whole.len() {
        if !whole.is_char_boundary(end) {
            continue;
        }
        match refused(&whole[..end]) {
            ChatFileError::BrokenJson { at, line: 1, column, .. } => {
                assert_eq!(at + 1, column);
                assert_eq!(at, end as u64, "{}", &whole[..end]);
            }
            error => panic!("cut at {end}: {error}"),
        }
    }
}

#[test]
fn broken_json_is_told_with_line_column_and_byte() {
    #[track_caller]
    fn check(text: &str, marker: &str) {
        let at = text.find(marker).unwrap() as u64;
        let line = 1 + text[..at as usize].matches('\n').count() as u64;
        match refused(text) {
            ChatFileError::BrokenJson { at: found, line: found_line, .. } => {
                assert_eq!((found, found_line), (at, line));
            }
            error => panic!("{error}"),
        }
    }
    let good = comment("a", "1", "x");
    check(&format!("{{\"comments\":[\n{good}\n§]}}"), "§");
    check(&format!("{{\"comments\":[\n{good}]\n;}}"), ";");
    check(&format!("{{\"comments\":[{good}]}}\n@"), "@");
    check(&format!("{{\"a\":[{{1]}},\"comments\":[{good}]}}"), "]}");
    check("{\"comments\":[\n{\"content_offset_seconds\": NaN,\"message\":{}}]}", "NaN");
    check(
        "{\"comments\":[\n{\"content_offset_seconds\":1,\n \"message\":{\"body\":\"a\nb\"}}]}",
        "\nb",
    );
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{\"a\":", "{\"comments\":[[", "{\"data\":", "[{\"data\":"] {
        let error = refused(open.repeat(100_000));
        assert!(
            matches!(error, ChatFileError::BrokenJson { .. } | ChatFileError::NotAMessage { .. }),
            "{error}"
        );
    }
}

#[test]
fn an_entry_that_is_no_message_is_told_with_its_place() {
    for entry in [
        "7".to_owned(),
        "{}".to_owned(),
        "{\"content_offset_seconds\":\"1\",\"message\":{}}".to_owned(),
        "{\"content_offset_seconds\":1}".to_owned(),
        "{\"content_offset_seconds\":1,\"message\":[]}".to_owned(),
    ] {
        match refused(format!("{{\"comments\":[\n  {entry}]}}")) {
            ChatFileError::NotAMessage { line, at, .. } => {
                assert_eq!(line, 2);
                assert!(at >= 16);
            }
            error => panic!("{entry}: {error}"),
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_told_with_their_place() {
    let mut json = export(&comment("a", "1", "QQQ")).into_bytes();
    let at = json.windows(3).position(|bytes| bytes == b"QQQ").unwrap();
    json[at + 1] = 0xff;
    match refused(&json) {
        ChatFileError::NotUtf8 { line: 1, at: found } => assert_eq!(found, at as u64 + 1),
        error => panic!("{error}"),
    }
    match refused(b"1\ta\tsalut\n2\tb\tcaf\xe9 noir\n") {
        ChatFileError::NotUtf8 { line: 2, at } => assert_eq!(at, 10 + 7),
        error => panic!("{error}"),
    }
    match refused(b"1,a,\"un\n\"\"deux\"\" \xe9\"\n") {
        ChatFileError::NotUtf8 { line: 2, at } => assert_eq!(at, 17),
        error => panic!("{error}"),
    }
    let utf16: Vec<u8> =
        "\u{feff}1\ta\tsalut\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = refused(utf16);
    assert!(matches!(error, ChatFileError::NotUtf8 { .. } | ChatFileError::Unrecognised { .. }));
}

#[test]
fn a_line_of_50_megabytes_is_refused_and_not_kept() {
    let long = "x".repeat(50 * 1024 * 1024);
    for text in [
        export(&comment("a", "1", &long)),
        format!("[{}]", comment("a", "1", &long)),
        format!("1\ta\t{long}\n"),
        format!("1,a,\"{long}\"\n"),
    ] {
        let error = refused(gzip(text.as_bytes()));
        assert!(
            matches!(error, ChatFileError::RecordTooLong { line: 1, max: RECORD_BYTES_MAX, .. }),
            "{error}"
        );
    }
}

#[test]
fn embedded_images_are_passed_over_whatever_their_size() {
    let image = "iVBORw0KGgo/".repeat(1024 * 1024);
    let text = export(&comment("a", "1", "x")).replace("AAAA", &image);
    let (_, report) = read(gzip(text.as_bytes())).unwrap();
    assert_eq!(report.unpacked_bytes, text.len() as u64);
    assert!(report.gzipped);
}

#[test]
fn wrong_times_are_told_with_their_line() {
    for row in ["NaN\ta\tb", "inf\ta\tb", "1e9\ta\tb", "soon\ta\tb", "1:2:3:4\ta\tb", "--1\ta\tb"] {
        match refused(format!("1\ta\tb\n{row}\n")) {
            ChatFileError::BadOffset { line: 2, at: 6, max_hours: 72, .. } => {}
            error => panic!("{row}: {error}"),
        }
    }
    let error = refused(export(&comment("a", "1e300", "x")));
    assert!(matches!(error, ChatFileError::BadOffset { .. }), "{error}");
}

#[test]
fn a_short_row_and_an_open_quote_are_told_with_their_line() {
    let error = refused("1\ta\tb\n2\tc\n");
    assert!(matches!(error, ChatFileError::BadRow { line: 2, .. }), "{error}");
    let error = refused("1,a,b\n2,c,\"open\n3,d,e\n");
    assert!(matches!(error, ChatFileError::BadRow { line: 2, .. }), "{error}");
}

#[test]
fn a_cut_or_damaged_gzip_is_refused() {
    let mut rows = String::new();
    for index in 0..20_000 {
        writeln!(rows, "{index}\tuser{index}\tmessage {}", index * 7919).unwrap();
    }
    let mut packed = gzip(rows.as_bytes());
    for end in [5, packed.len() / 2, packed.len() - 4] {
        let error = refused(&packed[..end]);
        assert!(matches!(error, ChatFileError::GzipTruncated { .. }), "{error}");
    }
    let checksum = packed.len() - 6;
    packed[checksum] ^= 0xff;
    let error = refused(&packed);
    assert!(matches!(error, ChatFileError::GzipDamaged { .. }), "{error}");
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    let limits = ChatFileLimits { unpacked_bytes_max: 8 * 1024 * 1024, ..Default::default() };
    let bomb = gzip(&[b"1\ta\tb\n".repeat(10), vec![b'\n'; 64 * 1024 * 1024]].concat());
    assert!(bomb.len() < 1024 * 1024);
    let error = read_with(&bomb, limits).unwrap_err();
    assert!(matches!(error, ChatFileError::TooLarge { max: 8_388_608 }), "{error}");
}

#[test]
fn more_messages_than_the_limit_are_refused() {
    let limits = ChatFileLimits { messages_max: 3, ..Default::default() };
    assert!(read_with(&b"1\ta\tb\n".repeat(3), limits).is_ok());
    let error = read_with(&b"1\ta\tb\n".repeat(4), limits).unwrap_err();
    assert!(matches!(error, ChatFileError::TooManyMessages { max: 3 }), "{error}");
}

#[test]
fn the_caller_may_stop() {
    let file = file(&b"1\ta\tb\n".repeat(3));
    let mut heard = 0;
    let answer = read_chat(&file.path, ChatFileLimits::default(), &mut |_| {
        heard += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(answer, Err(ChatFileError::Stopped)));
    assert_eq!(heard, 1);
}

/// Takes a good file and damages it in places, so that the readers get past their first bytes.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(export(&comment("a", "1", "x")).into_bytes()),
        Just(format!("[{}]", comment("a", "1", "x")).into_bytes()),
        Just(b"seconds,user,text\n1,a,\"b\"\"c\n\"\n".to_vec()),
        Just(b"1\ta\tb\r\n0:02\tc\td".to_vec()),
        Just(gzip(b"1\ta\tb\n")),
    ];
    (good, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)).prop_map(
        |(mut bytes, damage)| {
            for (index, byte) in damage {
                let index = index.index(bytes.len());
                if byte % 3 == 0 {
                    bytes.insert(index, byte);
                } else {
                    bytes[index] = byte;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = read(bytes);
    }

    #[test]
    fn damaged_chats_never_panic(bytes in damaged()) {
        let _ = read(bytes);
    }

    #[test]
    fn arbitrary_rows_survive_quoting(
        rows in prop::collection::vec((0_u32..100_000, "[^\\x00\\r]{0,20}[a-z\",;\n]"), 1..20)
    ) {
        let mut csv = String::new();
        for (seconds, text) in &rows {
            writeln!(csv, "{seconds},u,\"{}\"", text.replace('"', "\"\"")).unwrap();
        }
        let kept: Vec<_> = rows
            .iter()
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(seconds, text)| (i64::from(*seconds) * 1000, text.clone()))
            .collect();
        match read(csv) {
            Ok((lines, _)) => {
                let found: Vec<_> =
                    lines.into_iter().map(|line| (line.offset_ms, line.text)).collect();
                prop_assert_eq!(found, kept);
            }
            Err(ChatFileError::Empty { .. }) => prop_assert!(kept.is_empty()),
            Err(error) => panic!("{error}"),
        }
    }
}
