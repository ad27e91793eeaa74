//! The plain handshake (RTMP 1.0, 5.2). The signed one of Flash players is asked for by nobody who publishes.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version there is.
const VERSION: u8 = 3;
/// Bytes of each side's greeting and of its echo.
const GREETING_BYTES: usize = 1_536;

/// Greets who came; `false` when it is no RTMP.
pub(super) async fn greet<S>(stream: &mut S) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.read_u8().await? != VERSION {
        return Ok(false);
    }
    let mut theirs = [0; GREETING_BYTES];
    stream.read_exact(&mut theirs).await?;
    let mut answer = BytesMut::with_capacity(1 + 2 * GREETING_BYTES);
    answer.put_u8(VERSION);
    // Time and version zero: no signature is offered. The rest may be anything.
    answer.put_bytes(0, GREETING_BYTES);
    answer.put_slice(&theirs);
    stream.write_all(&answer).await?;
    // Their echo of ours: it proves nothing and is not compared, as everybody does.
    stream.read_exact(&mut theirs).await?;
    Ok(true)
}

/// Greets a server.
pub(super) async fn introduce<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = BytesMut::with_capacity(1 + GREETING_BYTES);
    hello.put_u8(VERSION);
    hello.put_bytes(0, GREETING_BYTES);
    stream.write_all(&hello).await?;
    stream.flush().await?;
    if stream.read_u8().await? != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it greets in another way"));
    }
    let mut theirs = [0; GREETING_BYTES];
    stream.read_exact(&mut theirs).await?;
    stream.write_all(&theirs).await?;
    stream.flush().await?;
    // Their echo of ours.
    stream.read_exact(&mut theirs).await?;
    Ok(())
}
