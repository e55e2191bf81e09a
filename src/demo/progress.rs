//! What is seen while the bots work: a bar that is drawn again on a terminal, a line now and then elsewhere.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::bot::Progress;

/// Draws on the standard error until dropped: the standard output is for the table.
pub(super) async fn draw(title: &str, total: u64, progress: Arc<Progress>) -> Infallible {
    let is_terminal = std::io::stderr().is_terminal();
    let began_at = Instant::now();
    let mut ticks = tokio::time::interval(if is_terminal { FRAME } else { LINE });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        show(&line(title, total, &progress, began_at.elapsed()), is_terminal, "");
    }
}

/// The last state of a bar, which stays.
pub(super) fn finish(title: &str, total: u64, progress: &Progress, took: Duration) {
    show(&line(title, total, progress, took), std::io::stderr().is_terminal(), "\n");
}

fn show(line: &str, is_terminal: bool, end: &str) {
    let mut screen = std::io::stderr().lock();
    // Nobody looks: no reason to fail.
    drop(if is_terminal { write!(screen, "\r\x1b[K{line}{end}") } else { writeln!(screen, "{line}") });
    drop(screen.flush());
}

fn line(title: &str, total: u64, progress: &Progress, took: Duration) -> String {
    let done = progress.done.load(Ordering::Relaxed);
    let throttled = progress.throttled.load(Ordering::Relaxed);
    let filled = usize::try_from(done.min(total) * WIDTH / total.max(1)).unwrap_or_default();
    let width = usize::try_from(WIDTH).unwrap_or_default();
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(width - filled));
    format!(
        "{title:<20} [{bar}] {done:>4}/{total} calls  {throttled:>4} x 429  {:>5.1} s",
        took.as_secs_f64()
    )
}

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);
/// Cells of a bar.
const WIDTH: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_with_the_calls_that_are_done() {
        let check = |done, cells| {
            let progress = Progress::default();
            progress.done.store(done, Ordering::Relaxed);
            let line = line("somewhere", 60, &progress, Duration::from_secs(2));
            assert_eq!(line.matches('#').count(), cells, "{line}");
            assert_eq!(line.matches(['#', '.']).count(), 30 + 1, "{line}");
        };
        [(0, 0), (1, 0), (30, 15), (60, 30), (61, 30)]
            .into_iter()
            .for_each(|(done, cells)| check(done, cells));
    }
}
