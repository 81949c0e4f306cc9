//! One connection through the proxy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::cut::Verdict;
use super::frames::Frames;
use super::{Mode, Shared};

/// Small pieces make a drip of a few kilobytes per second smooth.
const PIECE_BYTES: usize = 16 * 1024;

/// Why a direction ended.
enum End {
    /// One side closed, so the other is closed too.
    Closed,
    /// Both sides are to be reset.
    Cut,
    /// The connection is silent until the mode changes.
    Silence,
    /// The same, because the mode is a blackhole.
    Blackhole,
}

pub(super) async fn connection(
    client: TcpStream,
    server: String,
    mut modes: watch::Receiver<Mode>,
    shared: Arc<Shared>,
) {
    shared.open.fetch_add(1, Ordering::Relaxed);
    let _ = relay(client, &server, &mut modes, &shared).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn relay(
    client: TcpStream,
    server: &str,
    modes: &mut watch::Receiver<Mode>,
    shared: &Shared,
) -> io::Result<()> {
    // A real blackhole never answers a SYN. Here the kernel has already answered it, and then
    // nothing follows.
    if *modes.borrow_and_update() == Mode::Blackhole {
        outlive_blackhole(modes).await;
        return client.set_zero_linger();
    }
    let server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let carried = AtomicU64::new(0);
    let (bare, answers) = mpsc::unbounded_channel();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = Way { shared, carried: &carried, modes: modes.clone(), to_server: true };
    let down = Way { shared, carried: &carried, modes: modes.clone(), to_server: false };
    // We keep the halves open: in a blackhole, neither side learns that the other has closed.
    let (mut from_client, mut to_client, mut from_server, mut to_server) =
        (from_client, to_client, from_server, to_server);
    let end = tokio::select! {
        end = up.pump(&mut from_client, &mut to_server, Frames::of_client(), Wishes::Told(bare)) => end,
        end = down.pump(&mut from_server, &mut to_client, Frames::of_server(), Wishes::Heard(answers)) => end,
    };
    match end {
        Ok(End::Closed) => return Ok(()),
        Ok(End::Silence) => {
            modes.mark_unchanged();
            let _ = modes.changed().await;
        }
        Ok(End::Blackhole) => outlive_blackhole(modes).await,
        Ok(End::Cut) | Err(_) => {}
    }
    for half in [from_client.as_ref(), from_server.as_ref()] {
        half.set_zero_linger()?;
    }
    Ok(())
}

async fn outlive_blackhole(modes: &mut watch::Receiver<Mode>) {
    let _ = modes.wait_for(|mode| *mode != Mode::Blackhole).await;
}

/// The client's requests for encryption, which the server answers with a single byte.
enum Wishes {
    Told(mpsc::UnboundedSender<()>),
    Heard(mpsc::UnboundedReceiver<()>),
}

struct Way<'a> {
    shared: &'a Shared,
    carried: &'a AtomicU64,
    modes: watch::Receiver<Mode>,
    to_server: bool,
}

impl Way<'_> {
    async fn pump(
        mut self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        mut frames: Frames,
        mut wishes: Wishes,
    ) -> io::Result<End> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = tokio::select! {
                biased;
                // A change of the mode also applies to a connection that is idle.
                changed = self.modes.changed() => match (changed, *self.modes.borrow()) {
                    (Err(_), _) | (_, Mode::Refuse) => return Ok(End::Cut),
                    (_, Mode::Blackhole) => return Ok(End::Blackhole),
                    _ => continue,
                },
                read = from.read(&mut piece) => read?,
            };
            if read == 0 {
                return Ok(End::Closed);
            }
            frames.feed(&piece[..read]);
            loop {
                if let Wishes::Heard(heard) = &mut wishes {
                    while heard.try_recv().is_ok() {
                        frames.bare_answers += 1;
                    }
                }
                let (mut wish, bare) = (false, frames.bare_answers > 0);
                let Some(message) = frames.next(&mut wish) else { break };
                match &wishes {
                    Wishes::Told(tell) if wish => drop(tell.send(())),
                    Wishes::Heard(_) if bare && message == b"S" => frames.set_raw(),
                    _ => {}
                }
                if let Some(end) = self.message(&message, bare, to).await? {
                    return Ok(end);
                }
            }
        }
    }

    async fn message(
        &mut self,
        message: &[u8],
        bare: bool,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<Option<End>> {
        let verdict = if bare { Verdict::Pass } else { self.judge(message) };
        let end = |silent| Some(if silent { End::Silence } else { End::Cut });
        match verdict {
            Verdict::Drop { silent } => return Ok(end(silent)),
            Verdict::PassAndEnd { silent } => {
                self.write(message, to).await?;
                // A reset would discard what the other side has not read yet.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Ok(end(silent));
            }
            Verdict::Pass => {}
        }
        self.write(message, to).await
    }

    fn judge(&self, message: &[u8]) -> Verdict {
        let cuts = self.shared.cuts.lock().expect("no panic while locked");
        let verdicts = cuts.iter().map(|armed| armed.judge(self.to_server, message));
        verdicts
            .fold(Verdict::Pass, |first, next| if first == Verdict::Pass { next } else { first })
    }

    async fn write(&mut self, mut rest: &[u8], to: &mut OwnedWriteHalf) -> io::Result<Option<End>> {
        while !rest.is_empty() {
            let mode = *self.modes.borrow_and_update();
            let mut length = rest.len();
            match mode {
                Mode::Pass => {}
                Mode::Refuse => return Ok(Some(End::Cut)),
                Mode::Blackhole => return Ok(Some(End::Blackhole)),
                Mode::Stall => match self.modes.changed().await {
                    Ok(()) => continue,
                    Err(_) => return Ok(Some(End::Cut)),
                },
                Mode::Delay(delay) => tokio::time::sleep(delay).await,
                Mode::Drip(rate) => {
                    // Twenty pieces a second.
                    length = length.min((rate / 20).max(1) as usize);
                    let due = Instant::now()
                        + Duration::from_secs_f64(length as f64 / rate.max(1) as f64);
                    tokio::time::sleep_until(due).await;
                }
                Mode::CutAfter(bytes) => {
                    length = length
                        .min(bytes.saturating_sub(self.carried.load(Ordering::Relaxed)) as usize);
                    if length == 0 {
                        return Ok(Some(End::Cut));
                    }
                }
            }
            to.write_all(&rest[..length]).await?;
            rest = &rest[length..];
            self.carried.fetch_add(length as u64, Ordering::Relaxed);
            let counter =
                if self.to_server { &self.shared.to_server } else { &self.shared.to_client };
            counter.fetch_add(length as u64, Ordering::Relaxed);
        }
        Ok(None)
    }
}
