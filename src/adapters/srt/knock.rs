//! What a caller says of itself before it is let in: the stream id (SRT Access Control, Haivision 2019).

/// Longest stream id, in bytes: SRT takes no longer one.
const STREAM_ID_BYTES_MAX: usize = 512;
/// How the form with fields begins.
const FIELDS: &str = "#!::";

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("its key opens nothing")]
    Key,
    #[error("it wants to play, not to publish")]
    Plays,
    #[error("its stream id cannot be read")]
    Malformed,
    #[error("too many callers are here")]
    Crowd,
}

/// The key in a stream id: the id itself, or the field `r` of one with fields that does not ask for anything but to publish.
pub fn key(stream_id: &[u8]) -> Result<&str, Refused> {
    if stream_id.len() > STREAM_ID_BYTES_MAX {
        return Err(Refused::Malformed);
    }
    let text = std::str::from_utf8(stream_id).map_err(|_| Refused::Malformed)?;
    let Some(fields) = text.strip_prefix(FIELDS) else {
        // Fields within fields, and what else may once begin so.
        return if text.starts_with("#!") { Err(Refused::Malformed) } else { Ok(bare(text)) };
    };
    let mut resource = None;
    for field in fields.split(',').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').ok_or(Refused::Malformed)?;
        match (name, value) {
            ("m", "publish") | ("t", "stream") => {}
            ("m", _) => return Err(Refused::Plays),
            ("t", _) => return Err(Refused::Malformed),
            ("r", key) => resource = Some(key),
            // Who it says it is, its host, its session: the key alone counts.
            _ => {}
        }
    }
    resource.map(bare).ok_or(Refused::Malformed)
}

/// Some write the key behind an application's name, as with RTMP.
fn bare(text: &str) -> &str {
    let text = text.split('?').next().unwrap_or_default().trim_matches('/');
    text.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_stream_id_or_its_resource() {
        assert_eq!(key(b"sesame"), Ok("sesame"));
        assert_eq!(key(b"live/sesame?x=1"), Ok("sesame"));
        assert_eq!(key(b"#!::r=sesame,m=publish,u=lea"), Ok("sesame"));
        assert_eq!(key(b"#!::u=lea,r=live/sesame"), Ok("sesame"));
        assert_eq!(key(b""), Ok(""));
    }

    #[test]
    fn who_wants_to_play_or_cannot_be_read_is_refused() {
        assert_eq!(key(b"#!::r=sesame,m=request"), Err(Refused::Plays));
        assert_eq!(key(b"#!::r=sesame,m=bidirectional"), Err(Refused::Plays));
        assert_eq!(key(b"#!::m=publish"), Err(Refused::Malformed));
        assert_eq!(key(b"#!::r=sesame,publish"), Err(Refused::Malformed));
        assert_eq!(key(b"#!{r=sesame}"), Err(Refused::Malformed));
        assert_eq!(key(b"#!::r=sesame,t=file"), Err(Refused::Malformed));
        assert_eq!(key(&[0xff, b'a']), Err(Refused::Malformed));
        assert_eq!(key(&[b'a'; 513]), Err(Refused::Malformed));
    }
}
