//! What a daemon reports about a destination, in its status and its log.

use serde_json::Value;

use crate::{Daemon, PATIENCE, World, until};

impl World {
    /// The entry of the tenant's destination in the daemon's status; null if there is none.
    pub async fn told(&self, daemon: &Daemon, tenant: &str) -> Value {
        let status = daemon.status().await;
        let all = status["destinations"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|destination| destination["tenant"] == self.id(tenant))
            .unwrap_or_default()
    }

    /// Waits until the status shows the tenant's destination in that state, with all these parts in
    /// the reason. Returns the entry.
    pub async fn wait_told(
        &self,
        daemon: &Daemon,
        tenant: &str,
        state: &str,
        says: &[&str],
    ) -> Value {
        until(&format!("{tenant} is {state} {says:?}"), PATIENCE, async || {
            let told = self.told(daemon, tenant).await;
            let reason = told["reason"].as_str().unwrap_or_default();
            let met = told["state"] == state && says.iter().all(|part| reason.contains(part));
            if met { Ok(told) } else { Err(told.to_string()) }
        })
        .await
    }
}

impl Daemon {
    /// Waits until the daemon has logged this event.
    pub async fn wait_logged(&self, event: &str) {
        until(&format!("{event} is logged"), PATIENCE, async || {
            match self.log().iter().any(|line| line.event == event) {
                true => Ok(()),
                false => Err("it is not yet".to_owned()),
            }
        })
        .await;
    }

    /// Waits until the daemon has noticed that this fuse is blown, or is whole again. A pause blows
    /// the fuse `destination:TENANT/NAME`. A turn that is in progress may go on for a moment, and
    /// so may a round of the sequencer or the poller: see [`Self::wait_round`].
    pub async fn wait_fuse(&self, name: &str, blown: bool) {
        until(
            &format!("{name} is {}", if blown { "blown" } else { "whole" }),
            PATIENCE,
            async || {
                let last = self
                    .log()
                    .into_iter()
                    .rfind(|line| line.event == "fuses_changed")
                    .map(|line| line.text)
                    .unwrap_or_default();
                let last: Value = serde_json::from_str(&last).map_err(|error| error.to_string())?;
                let found = last["blown"]
                    .as_str()
                    .unwrap_or_default()
                    .split(", ")
                    .any(|found| found == name);
                if found == blown { Ok(()) } else { Err(last.to_string()) }
            },
        )
        .await;
    }

    /// Waits until a round of this loop has ended. The round after it began after the call.
    pub async fn wait_round(&self, name: &str) {
        let told = async || {
            let (_, metrics) = self.get("/metrics").await;
            let line = format!("offtake_loop_last_tick_timestamp_seconds{{loop=\"{name}\"}} ");
            metrics.lines().find_map(|found| found.strip_prefix(&line)).map(str::to_owned)
        };
        let before = told().await;
        until(&format!("the {name} has made another round"), PATIENCE, async || {
            match told().await {
                now if now.is_some() && now != before => Ok(()),
                now => Err(format!("{now:?}")),
            }
        })
        .await;
    }
}
