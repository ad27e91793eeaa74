//! SRT over a line that loses packets: what is lost comes again, and the line says how much that was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spark::domain::live::track::Kind;
use spark::ports::ingest::Ingest;
use tokio::net::UdpSocket;

use crate::recorder::footage;
use crate::srt::{KEY, PASSPHRASE, ended, expected, film, hear, open, settings};

/// A line to a door that loses every so many packets of data; how many it lost.
async fn lossy_line(to: SocketAddr, one_in: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(to).await.unwrap();
    let address = front.local_addr().unwrap();
    let lost = Arc::new(AtomicU64::new(0));
    let counter = lost.clone();
    tokio::spawn(async move {
        let (mut caller, mut data) = (None, 0_u64);
        let (mut forth, mut here) = (vec![0; 2_048], vec![0; 2_048]);
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut forth) => {
                    caller = Some(from);
                    // Handshakes and the like begin with a one.
                    data += u64::from(forth[0] & 0x80 == 0);
                    if forth[0] & 0x80 == 0 && data.is_multiple_of(one_in) {
                        counter.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let _ = back.send(&forth[..length]).await;
                    }
                }
                Ok(length) = back.recv(&mut here) => {
                    if let Some(caller) = caller {
                        let _ = front.send_to(&here[..length], caller).await;
                    }
                }
            }
        }
    });
    (address, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn srt_makes_good_what_a_bad_line_loses() {
    const SECONDS: u32 = 12;
    let door = open(&settings(Some(PASSPHRASE))).unwrap();
    let (line, lost) = lossy_line(door.local_addr(), 11).await;
    let source = footage();
    let query = format!("streamid={KEY}&passphrase={PASSPHRASE}");
    let mut sends = film(&source, SECONDS, &line, &query);
    let encoder = door.accept().await.unwrap();
    let gauge = encoder.gauge().expect("SRT tells how its line is");
    let heard = hear(encoder).await;
    assert!(ended(&mut sends).await.success());
    let lost = lost.load(Ordering::Relaxed);
    let reading = gauge.read().expect("a reading");
    assert!(reading.rtt_ms > 0.0 && reading.dropped == 0, "{reading:?}");
    assert!(reading.lost > 50 && reading.retransmitted >= reading.lost, "{reading:?}");
    assert!((0.05..0.15).contains(&reading.lost_share()), "one in eleven: {reading:?}");
    assert!(lost > 50, "{lost} packets were lost on the way: nothing was tried");
    let counted = (heard.of(Kind::Picture).len(), heard.of(Kind::Sound).len());
    assert_eq!(counted, expected(&source, SECONDS, "flv"), "{lost} packets were lost on the way");
}
