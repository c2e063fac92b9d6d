//! Kubernetes quantities (`100m`, `1.5Gi`, `1e3`) as exact numbers.
//!
//! A value is held in billionths in an `i128`, which covers everything the API accepts; finer fractions round up, as
//! `resource.Quantity` of apimachinery does.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

const NANO: i128 = 1_000_000_000;

/// How a quantity was written, which decides how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// An exact amount. Comparison and equality look at the amount only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity such as 500m, 2 or 1.5Gi")]
pub struct ParseQuantityError {
    pub text: String,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number of units.
    #[must_use]
    pub fn from_units(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// A number of thousandths.
    #[must_use]
    pub fn from_milli(value: i64) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// Units, rounded up.
    #[must_use]
    pub fn value(&self) -> i64 {
        saturate(div_ceil(self.nanos, NANO))
    }

    /// Thousandths, rounded up.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        saturate(div_ceil(self.nanos, NANO / 1000))
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The sum, in the format of `self` unless that is zero.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// The difference, in the format of `self`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format }
    }

    /// `self / divisor`, rounded up; a zero divisor counts as one.
    #[must_use]
    pub fn div_ceil(&self, divisor: &Self) -> i64 {
        let divisor = if divisor.is_zero() { NANO } else { divisor.nanos };
        saturate(div_ceil(self.nanos, divisor))
    }

    /// The API's type, in canonical form.
    #[must_use]
    pub fn to_api(&self) -> ApiQuantity {
        ApiQuantity(self.to_string())
    }

    fn decimal_parts(&self) -> (i128, i32) {
        if self.nanos == 0 {
            return (0, 0);
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        (mantissa, exponent)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl TryFrom<&ApiQuantity> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(value: &ApiQuantity) -> Result<Self, Self::Error> {
        value.0.parse()
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseQuantityError { text: text.to_owned() })
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the same amount in the same format always prints the same way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Format::BinarySi if self.nanos.abs() >= 1024 * NANO => {
                let mut value = div_ceil(self.nanos, NANO);
                let mut index = 0;
                while value % 1024 == 0 && index < BINARY.len() - 1 {
                    value /= 1024;
                    index += 1;
                }
                write!(f, "{value}{}", BINARY[index])
            }
            Format::DecimalExponent => match self.decimal_parts() {
                (mantissa, 0) => write!(f, "{mantissa}"),
                (mantissa, exponent) => write!(f, "{mantissa}e{exponent}"),
            },
            Format::DecimalSi | Format::BinarySi => {
                let (mantissa, exponent) = self.decimal_parts();
                let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

fn parse(text: &str) -> Option<Quantity> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let mantissa: i128 = digits.parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?;

    let (nanos, format) = if let Some(index) = BINARY.iter().skip(1).position(|s| *s == suffix) {
        let factor = 1_i128.checked_shl(10 * (u32::try_from(index).ok()? + 1))?;
        (scale_by_ten(mantissa.checked_mul(factor)?, 9 - scale)?, Format::BinarySi)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        (scale_by_ten(mantissa, 9 + power - scale)?, Format::DecimalSi)
    } else {
        let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        (scale_by_ten(mantissa, exponent.checked_add(9)?.checked_sub(scale)?)?, Format::DecimalExponent)
    };
    Some(Quantity { nanos: if negative { -nanos } else { nanos }, format })
}

/// `value * 10^power`, rounded up; `None` on overflow.
fn scale_by_ten(value: i128, power: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    match (power >= 0, factor) {
        (true, Some(factor)) => value.checked_mul(factor),
        (true, None) => None,
        (false, Some(factor)) => Some(div_ceil(value, factor)),
        (false, None) => Some(1),
    }
}

/// Division away from zero for positive numbers, as quantities round.
fn div_ceil(value: i128, divisor: i128) -> i128 {
    let quotient = value.div_euclid(divisor);
    if value.rem_euclid(divisor) == 0 { quotient } else { quotient + 1 }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("a quantity")
    }

    #[test]
    fn reads_every_suffix() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("100m", 100),
            ("0.1", 100),
            (".5", 500),
            ("5.", 5000),
            ("+2", 2000),
            ("-2", -2000),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e-3", 1),
            ("12E", i64::MAX),
            ("1u", 1),
            ("1n", 1),
            ("0.0000000001", 1),
        ] {
            assert_eq!(quantity(text).milli_value(), milli, "{text}");
        }
        assert_eq!(quantity("1Ei").value(), 1 << 60);
        assert_eq!(quantity("1500m").value(), 2);
    }

    #[test]
    fn refuses_what_is_not_a_quantity() {
        for text in ["", "m", "1.2.3", "1 Gi", "1gi", "0x10", "1e", "--1", "1Kib", "."] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_the_canonical_form() {
        for (text, canonical) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1000000", "1M"),
            ("1e3", "1e3"),
            ("2000e3", "2e6"),
            ("0", "0"),
            ("-1000", "-1k"),
            ("3000000Ki", "3000000Ki"),
            ("1.0001Ki", "1025"),
        ] {
            assert_eq!(quantity(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn printing_and_reading_agree() {
        for text in ["1", "250m", "64Mi", "7u", "123456789", "5e9", "1.25Gi", "9E"] {
            let first = quantity(text);
            let second = quantity(&first.to_string());
            assert_eq!(first, second);
            assert_eq!(first.to_string(), second.to_string());
        }
    }

    #[test]
    fn divides_rounding_up() {
        assert_eq!(quantity("1500m").div_ceil(&quantity("1")), 2);
        assert_eq!(quantity("1500m").div_ceil(&quantity("1m")), 1500);
        assert_eq!(quantity("64Mi").div_ceil(&quantity("1Mi")), 64);
        assert_eq!(quantity("65M").div_ceil(&quantity("1Mi")), 62);
        assert_eq!(quantity("3").div_ceil(&quantity("0")), 3);
    }

    #[test]
    fn adds_and_compares_amounts() {
        assert_eq!(quantity("1Gi").plus(&quantity("1Gi")).to_string(), "2Gi");
        assert_eq!(Quantity::ZERO.plus(&quantity("1Gi")).to_string(), "1Gi");
        assert_eq!(quantity("2").minus(&quantity("500m")).to_string(), "1500m");
        assert!(quantity("1Gi") > quantity("1G"));
        assert_eq!(quantity("1000m"), quantity("1"));
    }
}
