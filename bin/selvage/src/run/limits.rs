//! How much of the machine a workload may use.

use std::path::PathBuf;

use selvage_host::sandbox::{IoLimits, Limits};

/// Arguments that limit.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct AskedLimits {
    /// Processors it may use, as in 0.5
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<u32>,
    /// Memory it may use, as in 64M (K, M, G and T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Processes and threads it may have
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Option<u32>,
    /// Bytes it may read per second
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    io_read_bps: Option<u64>,
    /// Bytes it may write per second
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    io_write_bps: Option<u64>,
    /// Reads per second
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    io_read_iops: Option<u64>,
    /// Writes per second
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    io_write_iops: Option<u64>,
    /// Disk the io limits are about, or any path on it [default: that of its /]
    #[arg(long, value_name = "PATH")]
    io_device: Option<PathBuf>,
}

impl AskedLimits {
    /// As the sandbox takes them.
    pub fn limits(&self) -> Limits {
        let rates = [self.io_read_bps, self.io_write_bps, self.io_read_iops, self.io_write_iops];
        let io = rates.iter().any(Option::is_some).then(|| IoLimits {
            device: self.io_device.clone(),
            read_bytes: self.io_read_bps,
            write_bytes: self.io_write_bps,
            read_ops: self.io_read_iops,
            write_ops: self.io_write_iops,
        });
        Limits { millicpus: self.cpus, memory: self.memory, pids: self.pids, io }
    }
}

/// Thousandths of a processor. The kernel's shortest quota is 1 ms of a period of 100 ms.
fn parse_cpus(text: &str) -> Result<u32, String> {
    let count: f64 = text.parse().map_err(|_| "not a number, as in 0.5".to_owned())?;
    if (0.01..=4096.0).contains(&count) {
        Ok((count * 1000.0).round() as u32)
    } else {
        Err("not between 0.01 and 4096".to_owned())
    }
}

/// Bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "not a size, as in 64M".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = count.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes == 0 { Err("nothing at all".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_processors_are_read() {
        for (text, bytes) in [("1", 1), ("64M", 64 << 20), ("1g", 1 << 30), ("2KiB", 2048)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "0", "M", "-1", "1.5M", "1X", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "`{bad}` was taken");
        }
        assert_eq!(parse_cpus("0.5"), Ok(500));
        for bad in ["0", "-1", "x", "NaN", "inf", "0.001"] {
            assert!(parse_cpus(bad).is_err(), "`{bad}` was taken");
        }
    }
}
