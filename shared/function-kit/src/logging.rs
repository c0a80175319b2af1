//! Log lines that can be told apart wherever they end up.

use std::env;
use std::io::{self, Write};

use lambda_http::tracing;
use lambda_http::tracing::subscriber::fmt::format::Writer;
use lambda_http::tracing::subscriber::fmt::time::{FormatTime, SystemTime};

/// Sets up logging as Lambda's settings say.
///
/// Lambda gives each function a log of its own and each line a time. Elsewhere, which is where it has set no format, several
/// functions may write to one log: each line there begins with its time and its function's name.
pub fn init() {
    if env::var_os("AWS_LAMBDA_LOG_FORMAT").is_some() {
        return tracing::init_default_subscriber();
    }
    let function = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    tracing::init_default_subscriber_with_writer(move || Stamped { function: function.clone() });
}

/// Writes an event, which comes in one piece, to the standard output.
struct Stamped {
    function: String,
}

impl Write for Stamped {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time)).map_err(io::Error::other)?;
        let mut stdout = io::stdout().lock();
        write!(stdout, "{time} {} ", self.function)?;
        stdout.write_all(event)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
