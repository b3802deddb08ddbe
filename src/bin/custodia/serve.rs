//! `custodia serve`.

use std::io::{self, Write};

use custodia::{
    clock::Clock,
    config::Config,
    host::{self, Options, Running},
    http::panic_hook,
    watch::{self, Screen},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, tell};

/// Serves until SIGINT or SIGTERM; SIGHUP has the certificates read again.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Dropped last: what stopping says is written as well.
    let _guard = watch::start(&config, Clock::machine(), Screen::Words)?;
    panic_hook::install();
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut ended = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let mut hung_up = signal(SignalKind::hangup())?;
    let options = Options { progress: Box::new(tell), ..Options::default() };
    let running = host::start_with(config, Clock::machine(), options).await?;
    say(&running)?;
    let [interrupted, terminated] = &mut ended;
    loop {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            _ = hung_up.recv() => match running.reloader().reload() {
                Ok(()) => tracing::info!(event = "certificates_read_again"),
                Err(error) => tracing::error!(event = "certificates_not_replaced", error = host::explained(&error)),
            },
        }
    }
    Ok(running.stop().await?)
}

fn say(running: &Running) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "FHIR base  {}", running.app().base.as_str())?;
    writeln!(out, "portal     {}", running.portal())?;
    if let Some(partners) = running.partners() {
        writeln!(out, "partners   {partners}")?;
    }
    writeln!(out, "log        {}", running.app().ledger.vkey())?;
    out.flush()
}
