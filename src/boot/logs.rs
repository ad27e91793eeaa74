//! Structured logs to stderr: text for people, JSON for machines.

use tracing_subscriber::EnvFilter;

use crate::boot::config::{LogFormat, LogsConfig};

/// Starts telling. A filter that cannot be read falls back to `info` and says so.
pub(crate) fn start(config: &LogsConfig, by_default: &str) {
    let wanted = config.filter.as_deref().unwrap_or(by_default);
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|error| {
        eprintln!("spark: the log filter `{wanted}` cannot be read ({error}); using `info`");
        EnvFilter::new("info")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => builder.with_target(false).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        eprintln!("spark: cannot start the log: {error}");
    }
}
