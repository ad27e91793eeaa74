//! The thread that starts the children.

use std::io;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Starts children. Its thread lives as long as it does: a child's death signal is tied to the thread that forked it, so no
/// short-lived thread may do it.
pub(super) struct Nursery(mpsc::Sender<Birth>);

/// A child asked of the nursery.
struct Birth {
    command: Command,
    runtime: tokio::runtime::Handle,
    born: oneshot::Sender<io::Result<Child>>,
}

impl Nursery {
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let (nursery, orders) = mpsc::channel::<Birth>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for mut birth in orders {
                let _in_runtime = birth.runtime.enter();
                let child = birth.command.spawn();
                // Whoever asked may have been cancelled meanwhile: the child is then killed on drop.
                if let Err(Ok(orphan)) = birth.born.send(child) {
                    drop(orphan);
                }
            }
        })?;
        Ok(Self(nursery))
    }

    pub(super) async fn start(&self, command: Command) -> io::Result<Child> {
        let (born, birth) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let gone = || io::Error::other("the thread that starts children is gone");
        self.0.send(Birth { command, runtime, born }).map_err(|_| gone())?;
        birth.await.map_err(|_| gone())?
    }
}
