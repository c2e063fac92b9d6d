//! Ctrl-C and SIGTERM: the first cancels cleanly, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{self, Exit};
use crate::printer::Printer;

/// A token that the first signal cancels. Must be called inside the runtime.
pub fn token(printer: &Printer) -> std::io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let (cancelled, printer) = (token.clone(), printer.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                exit::now(Exit::Interrupted);
            }
            printer.err("interrupted, stopping cleanly (once more to stop at once)");
            cancelled.cancel();
        }
    });
    Ok(token)
}
