//! From the configuration to the edge's doors and limits.
//!
//! May import `config` and `http::edge`.

use std::time::Duration;

use super::{Portal, StartError};
use crate::{
    config::{Config, LimitsConfig, OldestTls, StaleLists},
    http::edge::{
        ClientFiles, DoorConfig, EdgeConfig, Limits, ServerFiles, StaleCrls, TlsVersion, Transport,
    },
};

/// The portal's door first, then the partners', if it is open.
pub(super) fn edge_config(config: &Config, portal: Portal) -> Result<EdgeConfig, StartError> {
    let transport = match portal {
        Portal::PlainLoopback => Transport::PlainLoopback,
        Portal::Tls => Transport::Portal(server_files(config, Whose::Portal)?),
    };
    let mut doors = vec![DoorConfig { address: config.portal.address, transport }];
    if let (Some(address), Some(roots)) = (config.partners.address, &config.partners.client_roots) {
        let clients = ClientFiles {
            roots: roots.clone(),
            crls: config.partners.client_crls.clone(),
            stale_crls: match config.partners.stale_crls {
                StaleLists::Refuse => StaleCrls::Refuse,
                StaleLists::Accept => StaleCrls::Accept,
            },
        };
        let transport = Transport::Partner(server_files(config, Whose::Partners)?, clients);
        doors.push(DoorConfig { address, transport });
    }
    Ok(EdgeConfig {
        limits: limits(&config.limits),
        metrics_readers: config.watch.metrics_from.clone(),
        ..EdgeConfig::new(doors)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Portal,
    Partners,
}

fn server_files(config: &Config, whose: Whose) -> Result<ServerFiles, StartError> {
    let own = match whose {
        Whose::Partners => config.partners.certificate.clone().zip(config.partners.key.clone()),
        Whose::Portal => None,
    };
    let shared = || config.portal.certificate.clone().zip(config.portal.key.clone());
    let (certificates, key) = own.or_else(shared).ok_or(StartError::NoCertificate)?;
    let oldest = match config.portal.oldest_tls {
        OldestTls::Tls12 => TlsVersion::Tls12,
        OldestTls::Tls13 => TlsVersion::Tls13,
    };
    Ok(ServerFiles { certificates, key, oldest })
}

fn limits(config: &LimitsConfig) -> Limits {
    let ms = |ms: u32| Duration::from_millis(u64::from(ms));
    // A machine whose usize is narrower than 32 bits runs no PostgreSQL either.
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        handshake: ms(config.handshake_ms),
        header: ms(config.header_ms),
        body: ms(config.body_ms),
        idle: ms(config.idle_ms),
        write_stall: ms(config.write_stall_ms),
        shutdown: ms(config.shutdown_ms),
        header_bytes_max: config.header_bytes_max,
        body_bytes_max: size(config.body_bytes_max),
        body_bytes_total_max: size(config.body_bytes_total_max),
        streams_max: config.streams_max,
        connections_per_source_max: size(config.connections_per_source_max),
        connections_max: size(config.connections_max),
        ..Limits::DEFAULT
    }
}
