//! Times as the APIC writes them.

use selvage_model::Stamp;

/// The number of the user `admin`, as observed.
const ADMIN_UID: &str = "15374";

/// The stamp of a change made at `wall_ms`, milliseconds since 1970 (UTC).
pub fn stamp(wall_ms: u64) -> Stamp {
    Stamp::new(&text(wall_ms), ADMIN_UID)
}

/// `2024-03-01T12:00:00.000+00:00`
pub fn text(wall_ms: u64) -> String {
    let (days, in_day) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (seconds, millis) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}+00:00")
}

/// The date so many days after 1970-01-01, by the Gregorian calendar: years counted from March, so
/// that the leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_apic_does() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000+00:00");
        assert_eq!(text(1_709_294_400_123), "2024-03-01T12:00:00.123+00:00");
        assert_eq!(text(4_107_542_399_999), "2100-02-28T23:59:59.999+00:00");
        assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00.000+00:00");
    }
}
