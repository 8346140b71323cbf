//! What endpoints are asked, how often, and how many answers decide.
//!
//! As an annotation: `http:/healthz`, `grpc`, `grpc:shop.v1.Shop` or `tcp`, and after commas what is not as usual, such as
//! `interval=5s, timeout=1s, unhealthy=3, healthy=2, status=200-399`.

use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use http::uri::PathAndQuery;

/// What each endpoint of a cluster is asked, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The question.
    pub probe: Probe,
    /// From one question to the next.
    pub interval: Duration,
    /// By how much of an interval a pause may be longer, so that callers do not ask together.
    pub jitter_percent: u32,
    /// How long is waited for an answer.
    pub timeout: Duration,
    /// After so many bad answers in a row an endpoint is unhealthy.
    pub unhealthy_threshold: u32,
    /// After so many good ones it is healthy again; after more where it does not stay so ([`Tracker`](super::Tracker)).
    pub healthy_threshold: u32,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET.
    Http {
        /// Whom it names; the cluster's own host where it is empty.
        host: Box<str>,
        /// Its path, with its query if it has one.
        path: Box<str>,
        /// The statuses that are good.
        statuses: Range<u16>,
    },
    /// `grpc.health.v1.Health/Check`, of this service; of the server as a whole where it is empty.
    Grpc(Box<str>),
    /// That a connection comes about.
    Tcp,
}

/// Why a text says no health check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAHealthCheck {
    /// It begins with no question.
    #[error("`{0}` is none of `http:/PATH`, `grpc`, `grpc:SERVICE` and `tcp`")]
    Probe(String),
    /// It has an option of another name.
    #[error("`{0}` is none of `interval=`, `timeout=`, `unhealthy=`, `healthy=` and, with http, `status=`")]
    Option(String),
    /// A time that is none, or too short or long.
    #[error("`{name}={value}` is no time from {} to {} ms, such as 500ms or 5s", .limits.start().as_millis(), .limits.end().as_millis())]
    Time {
        /// The option.
        name: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there.
        limits: RangeInclusive<Duration>,
    },
    /// A number of answers that is none.
    #[error("`{0}` is not from 1 to {THRESHOLD_MAX}")]
    Threshold(String),
    /// Statuses that are none.
    #[error("`status={0}` is neither a status nor a range such as 200-399")]
    Statuses(String),
}

impl HealthCheck {
    /// A question with the usual numbers.
    pub fn of(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(5),
            jitter_percent: 20,
            timeout: Duration::from_secs(1),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
        }
    }

    /// From one question to the next, where `draw` is from 0 to 1.
    pub fn pause(&self, draw: f64) -> Duration {
        self.interval.mul_f64(1.0 + f64::from(self.jitter_percent) / 100.0 * draw.clamp(0.0, 1.0))
    }
}

impl FromStr for HealthCheck {
    type Err = NotAHealthCheck;

    fn from_str(text: &str) -> Result<Self, NotAHealthCheck> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let mut check = Self::of(first.parse()?);
        for part in parts {
            let unknown = || NotAHealthCheck::Option(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            match (name.trim_end(), value.trim_start(), &mut check.probe) {
                ("interval", value, _) => check.interval = time("interval", value, INTERVAL)?,
                ("timeout", value, _) => check.timeout = time("timeout", value, TIMEOUT)?,
                ("unhealthy", value, _) => check.unhealthy_threshold = threshold(part, value)?,
                ("healthy", value, _) => check.healthy_threshold = threshold(part, value)?,
                ("status", value, Probe::Http { statuses, .. }) => *statuses = range(value)?,
                _ => return Err(unknown()),
            }
        }
        Ok(check)
    }
}

impl FromStr for Probe {
    type Err = NotAHealthCheck;

    fn from_str(text: &str) -> Result<Self, NotAHealthCheck> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest))) {
            ("http", Some(path)) if is_path(path) => {
                Ok(Self::Http { host: "".into(), path: path.into(), statuses: SUCCESS })
            }
            ("grpc", None) => Ok(Self::Grpc("".into())),
            ("grpc", Some(service)) if plain(service) => Ok(Self::Grpc(service.into())),
            ("tcp", None) => Ok(Self::Tcp),
            _ => Err(NotAHealthCheck::Probe(text.to_owned())),
        }
    }
}

/// Whether a text is a path, with or without a query.
pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && PathAndQuery::try_from(text).is_ok_and(|read| read.as_str() == text)
}

fn time(
    name: &'static str,
    value: &str,
    limits: RangeInclusive<Duration>,
) -> Result<Duration, NotAHealthCheck> {
    let digits = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let milliseconds =
        number.parse().ok().zip(unit).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
    let time = milliseconds.map(Duration::from_millis).filter(|time| limits.contains(time));
    time.ok_or_else(|| NotAHealthCheck::Time { name, value: value.to_owned(), limits })
}

fn threshold(part: &str, value: &str) -> Result<u32, NotAHealthCheck> {
    let number = value.parse().ok().filter(|number| (1..=THRESHOLD_MAX).contains(number));
    number.ok_or_else(|| NotAHealthCheck::Threshold(part.to_owned()))
}

fn range(value: &str) -> Result<Range<u16>, NotAHealthCheck> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..600).contains(status));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..last + 1),
        _ => Err(NotAHealthCheck::Statuses(value.to_owned())),
    }
}

const SUCCESS: Range<u16> = 200..300;
const THRESHOLD_MAX: u32 = 100;
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_what_is_asked_and_how_often() {
        let read = |text: &str| text.parse::<HealthCheck>().unwrap();
        let http = |path: &str, statuses| Probe::Http { host: "".into(), path: path.into(), statuses };
        assert_eq!(read("http:/healthz"), HealthCheck::of(http("/healthz", 200..300)));
        assert_eq!(read("tcp"), HealthCheck::of(Probe::Tcp));
        assert_eq!(read("grpc:shop.v1.Shop").probe, Probe::Grpc("shop.v1.Shop".into()));
        let all = read("http:/a?b=c, interval=1m,timeout = 250ms, unhealthy=1, healthy=9, status=204-399");
        let expected = HealthCheck {
            interval: Duration::from_secs(60),
            timeout: Duration::from_millis(250),
            unhealthy_threshold: 1,
            healthy_threshold: 9,
            ..HealthCheck::of(http("/a?b=c", 204..400))
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let check = |text: &str, reason: &str| {
            let error = text.parse::<HealthCheck>().expect_err(text).to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        };
        for probe in ["", "http", "http:healthz", "http:/a b", "https:/a", "grpc:", "tcp:9000"] {
            check(probe, &format!("`{probe}` is none of `http:/PATH`"));
        }
        check("tcp, every=5s", "`every=5s` is none of `interval=`");
        check("tcp, interval", "`interval` is none of");
        check("tcp, status=200", "`status=200` is none of");
        check("tcp, interval=5", "`interval=5` is no time from 100 to 3600000 ms");
        check("tcp, interval=99ms", "`interval=99ms` is no time");
        check("tcp, timeout=99999999999999999999s", "`timeout=99999999999999999999s` is no time");
        check("tcp, healthy=0", "`healthy=0` is not from 1 to 100");
        check("tcp, unhealthy=101", "`unhealthy=101` is not");
        for status in ["", "20", "600", "300-200", "200-", "2xx"] {
            check(&format!("http:/, status={status}"), &format!("`status={status}` is neither"));
        }
    }

    #[test]
    fn pauses_are_spread_over_a_fifth_of_the_interval() {
        let check = HealthCheck::of(Probe::Tcp);
        assert_eq!([0.0, 1.0].map(|draw| check.pause(draw)), [5, 6].map(Duration::from_secs));
    }
}
