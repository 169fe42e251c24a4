//! Times as people write them in a query: milliseconds since 1970, RFC 3339, a day, or so long
//! ago. A day begins at midnight UTC.

use std::str::FromStr;

use harp_time::clock;

/// In milliseconds.
const DAY: u64 = 86_400_000;

/// A time in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub u64);

/// This is no time.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be milliseconds since 1970, a time such as 2026-11-27T12:00:00Z, a day such as \
     2026-11-27, today or yesterday (in UTC), or a time before now such as -90s, -15m, -2h or -7d"
)]
pub struct NotAMoment;

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Moment, NotAMoment> {
        if let Some(ago) = text.strip_prefix('-') {
            let ago = milliseconds(ago).ok_or(NotAMoment)?;
            return Ok(Moment(clock::now().saturating_sub(ago)));
        }
        if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
            return text.parse().map(Moment).map_err(|_| NotAMoment);
        }
        let midnight = |days: u64| clock::now().saturating_sub(days * DAY) / DAY * DAY;
        let time = match text {
            "today" => Some(midnight(0)),
            "yesterday" => Some(midnight(1)),
            _ if text.len() == "2026-11-27".len() => rfc3339(&format!("{text}T00:00:00Z")),
            _ => rfc3339(text),
        };
        time.map(Moment).ok_or(NotAMoment)
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY,
        _ => return None,
    };
    let count = &text[..text.len() - 1];
    let is_number = !count.is_empty() && count.bytes().all(|digit| digit.is_ascii_digit());
    let count = is_number.then(|| count.parse::<u64>().unwrap_or(u64::MAX))?;
    Some(count.saturating_mul(unit))
}

/// A time with `Z` or an offset, by which it is moved.
fn rfc3339(text: &str) -> Option<u64> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (sign, offset) = match offset.split_at_checked(1)? {
                ("+", offset) => (1, offset),
                ("-", offset) => (-1, offset),
                _ => return None,
            };
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
            (local, sign * (hours * 60 + minutes) * 60_000)
        }
    };
    let local = humantime::parse_rfc3339(&format!("{}Z", local.replace('t', "T"))).ok()?;
    let local = local.duration_since(std::time::UNIX_EPOCH).ok()?;
    let local = i64::try_from(local.as_millis()).ok()?;
    u64::try_from(local - offset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let of = |text: &str| text.parse::<Moment>().map(|Moment(time)| time).ok();
        assert_eq!(of("1700000000000"), Some(1_700_000_000_000));
        assert_eq!(of("1970-01-01T00:00:01.500Z"), Some(1_500));
        assert_eq!(of("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(of("1970-01-01T00:00:00-00:30"), Some(1_800_000));
        assert_eq!(of("1970-01-02"), Some(DAY));
        let (today, now) = (of("today").unwrap(), clock::now());
        assert!(today % DAY == 0 && (today..today + 2 * DAY).contains(&now));
        let yesterday = of("yesterday").unwrap();
        assert!(yesterday % DAY == 0 && now - yesterday >= DAY && yesterday + DAY >= today);
        let hour_ago = of("-60m").unwrap();
        assert!(clock::now().abs_diff(hour_ago) - 3_600_000 < 10_000);
        for wrong in [
            "",
            "-",
            "-5",
            "-x",
            "tomorrow",
            "1970-13-01",
            "yesterday ",
            "1970-01-01T00:00:00",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
