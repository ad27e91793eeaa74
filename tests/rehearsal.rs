//! The reader hears exactly what the pretend stream's export says.
use spark::adapters::chat_files::{ChatFileLimits, ChatFormat, read_chat};
use spark::rehearsal::stream::{PretendStream, Script};
use std::ops::ControlFlow;

#[test]
fn the_pretend_export_reads_back_message_by_message() {
    let stream = PretendStream::new(Script { width: 64, height: 64, ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.json");
    stream.write_twitch_downloader(std::fs::File::create(&path).unwrap()).unwrap();
    let mut lines = Vec::new();
    let report = read_chat(&path, ChatFileLimits::default(), &mut |line| {
        lines.push(line);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(report.format, ChatFormat::TwitchDownloader);
    assert_eq!((report.out_of_order, report.duplicates, report.without_text), (0, 0, 0));
    assert_eq!(lines.len(), stream.chat().len());
    for (line, message) in lines.iter().zip(stream.chat()) {
        assert_eq!(line.offset_ms, message.offset_ms);
        assert_eq!(line.text, message.text);
        assert_eq!(line.bits, message.bits);
        assert_eq!(line.user_id.as_deref(), Some(message.viewer.id.as_str()));
        assert_eq!(line.trusted, message.viewer.badges.contains(&("moderator", "1")));
    }
    assert_eq!(report.video.unwrap().length_ms, Some(240_000));
}
