//! Dropped packets: out of the data plane, remembered, and sent on to whoever follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvage_agent::datapath::{Drop, DropSource};
use selvage_agent::drops::Names;
use selvage_agent::local::DropView;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender};

use super::hands::monotonic;
use super::owner::Event;

/// How many drops are remembered.
const HISTORY: usize = 4096;

/// How many drops are put into words in one round; a flood must not keep the agent from its work.
const ROUND: usize = 256;

/// How long a round takes at least.
const PAUSE: Duration = Duration::from_millis(50);

/// What a follower is sent.
pub enum Notice {
    /// A packet was dropped.
    Drop(Arc<DropView>),
    /// So many drops were left out.
    Lost(u64),
}

/// The drops of the last while, and who wants to hear of more.
#[derive(Default)]
pub struct History {
    past: VecDeque<Arc<DropView>>,
    followers: Vec<Follower>,
}

struct Follower {
    sender: Sender<Notice>,
    lost: u64,
}

impl History {
    /// Puts events into words, remembers them and tells the followers. `lost` further ones were
    /// never seen.
    pub fn add(&mut self, drops: &[Drop], lost: u64, names: &Names) {
        let (wall, now) = (wall_ms(), monotonic());
        for drop in drops {
            let age = now.saturating_sub(Duration::from_nanos(drop.at_ns));
            let time_ms = wall.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            let view = Arc::new(names.view(drop, time_ms));
            if self.past.len() == HISTORY {
                self.past.pop_front();
            }
            self.past.push_back(view.clone());
            self.followers.retain_mut(|follower| follower.tell(&view));
        }
        for follower in &mut self.followers {
            follower.lost += lost;
        }
    }

    /// What is remembered, oldest first.
    pub fn past(&self) -> Vec<Arc<DropView>> {
        self.past.iter().cloned().collect()
    }

    /// Tells of every further drop, as long as the other end is there.
    pub fn follow(&mut self, sender: Sender<Notice>) {
        self.followers.push(Follower { sender, lost: 0 });
    }
}

impl Follower {
    /// Whether it is still there.
    fn tell(&mut self, view: &Arc<DropView>) -> bool {
        if self.lost > 0 {
            match self.sender.try_send(Notice::Lost(self.lost)) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(_)) => {}
            }
        }
        match self.sender.try_send(Notice::Drop(view.clone())) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// Reads the data plane's events in a thread of its own, until the agent ends.
pub fn read(mut source: Box<dyn DropSource>, events: &UnboundedSender<Event>) {
    let mut drops = Vec::new();
    loop {
        let lost = match source.wait(Duration::from_millis(500), &mut drops) {
            Ok(lost) => lost,
            Err(error) => {
                tracing::error!("drops are not shown any more: {error}");
                return;
            }
        };
        let more = u64::try_from(drops.len().saturating_sub(ROUND)).unwrap_or_default();
        drops.truncate(ROUND);
        let flooded = more > 0;
        if (!drops.is_empty() || lost > 0)
            && events.send(Event::Dropped(std::mem::take(&mut drops), lost + more)).is_err()
        {
            return;
        }
        if events.is_closed() {
            return;
        }
        if flooded {
            std::thread::sleep(PAUSE);
        }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
