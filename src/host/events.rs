//! Refusals at the edge, put into the log: one entry for a source, a reason and a second.
//!
//! May import `app`, `http::edge`, `ledger`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use custodia_audit::Kind;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    app::App,
    http::edge::{EdgeEvent, EdgeEventKind},
    ledger::{Access, Names},
};

/// How long refusals are gathered before they become entries.
const GATHERED: Duration = Duration::from_secs(1);
/// Sources told apart in one second; further ones share an entry under the unspecified address.
const SOURCES_MAX: usize = 256;
/// Entries that wait for the ledger at once.
const WRITTEN_AT_ONCE: usize = 32;
/// How long the last of them may take when the server stops.
pub(super) const LAST: Duration = Duration::from_secs(5);

type Gathered = HashMap<(IpAddr, EdgeEventKind), u64>;

/// Records what the edge tells until the edge is gone.
pub(super) async fn record(app: Arc<App>, mut told: mpsc::Receiver<EdgeEvent>) {
    while let Some(first) = told.recv().await {
        let mut gathered = Gathered::new();
        gather(&mut gathered, first);
        let end = Instant::now() + GATHERED;
        // Until the second is over, or nobody is left to tell more.
        while let Ok(Some(event)) = timeout_at(end, told.recv()).await {
            gather(&mut gathered, event);
        }
        stream::iter(gathered)
            .for_each_concurrent(WRITTEN_AT_ONCE, |((address, kind), count)| note(&app, address, kind, count))
            .await;
    }
}

fn gather(gathered: &mut Gathered, event: EdgeEvent) {
    let key = (event.peer.ip().to_canonical(), event.kind);
    let key = if gathered.len() < SOURCES_MAX || gathered.contains_key(&key) {
        key
    } else {
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), event.kind)
    };
    *gathered.entry(key).or_default() += 1;
}

async fn note(app: &App, address: IpAddr, kind: EdgeEventKind, count: u64) {
    let access = Access {
        request: app.clock.ordered_id(),
        caller: None,
        address,
        thumbprint: None,
        interaction: "handshake",
        query: None,
        named: Names::default(),
    };
    let code = match count {
        1 => kind.code().to_owned(),
        more => format!("{} ({} more)", kind.code(), more - 1),
    };
    // Nothing was answered, so there is no status: 0.
    if app.ledger.note(&access, Kind::Edge, 0, &code).await.is_err() {
        tracing::error!(event = "edge_event_lost", code = kind.code(), more = count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::edge::Door;

    #[test]
    fn a_flood_of_sources_shares_one_entry() {
        let mut gathered = Gathered::new();
        for source in 0..1_000_u32 {
            let peer = (IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + source)), 1).into();
            for _ in 0..2 {
                let kind = EdgeEventKind::HandshakeFailed;
                gather(&mut gathered, EdgeEvent { peer, door: Door::Portal, kind });
            }
        }
        assert_eq!(gathered.len(), SOURCES_MAX + 1);
        assert_eq!(gathered.values().sum::<u64>(), 2_000);
        let shared = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), EdgeEventKind::HandshakeFailed);
        assert_eq!(gathered.get(&shared), Some(&(2 * (1_000 - 256))));
    }
}
