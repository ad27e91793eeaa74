//! The server's configuration: small, safe, quiet, reachable through one unix socket only.

use std::path::Path;

use crate::adapters::postgres::cluster::error::ClusterError;
use crate::adapters::postgres::cluster::place::{Home, PORT, write_atomically};

/// Connections the server accepts; every pool of every spark process shares them.
pub const CONNECTIONS_MAX: u32 = 40;

/// Writes the configuration and the access rules. They lie beside the cluster, so that root
/// never writes in a folder of the server's user.
pub(crate) fn write(home: &Home, socket_folder: &Path) -> Result<(), ClusterError> {
    write_atomically(&home.access_rules(), ACCESS_RULES.as_bytes(), 0o644)?;
    let text = render(home, socket_folder);
    write_atomically(&home.configuration(), text.as_bytes(), 0o644)
}

/// Only the socket, only with the password.
const ACCESS_RULES: &str = "# Written by spark at every start.\nlocal all all scram-sha-256\n";

fn render(home: &Home, socket_folder: &Path) -> String {
    let data = quote(&home.pgdata().to_string_lossy());
    let rules = quote(&home.access_rules().to_string_lossy());
    let log = quote(&home.log().to_string_lossy());
    // The setting is a list, in which a name with commas stands in double quotes.
    let socket = socket_folder.to_string_lossy().replace('"', "\"\"");
    let name = home.cluster_name();
    let socket = quote(&format!("\"{socket}\""));
    format!(
        "# Written by spark at every start; changes here are lost.
data_directory = {data}
hba_file = {rules}
cluster_name = '{name}'

# Reachable through the socket only.
listen_addresses = ''
unix_socket_directories = {socket}
unix_socket_permissions = 0700
port = {PORT}
password_encryption = 'scram-sha-256'

# Sized for a small server that also records and renders.
max_connections = {CONNECTIONS_MAX}
superuser_reserved_connections = 3
shared_buffers = 64MB
work_mem = 4MB
maintenance_work_mem = 32MB
effective_cache_size = 256MB
max_worker_processes = 4
max_parallel_workers_per_gather = 0
autovacuum = on
autovacuum_max_workers = 2
jit = off

# Nothing acknowledged is lost; the write-ahead log stays small.
fsync = on
full_page_writes = on
synchronous_commit = on
wal_level = minimal
max_wal_senders = 0
min_wal_size = 64MB
max_wal_size = 256MB
checkpoint_completion_target = 0.9

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'

# One file per hour of the day, each overwritten a day later. Statements and key values stay
# out: they can hold what viewers wrote.
logging_collector = on
log_directory = {log}
log_filename = 'postgresql-%H.log'
log_truncate_on_rotation = on
log_rotation_age = 60
log_rotation_size = 0
log_file_mode = 0600
log_min_messages = warning
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_line_prefix = '%m [%p] '
"
    )
}

/// Quotes a string as the configuration file wants it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
