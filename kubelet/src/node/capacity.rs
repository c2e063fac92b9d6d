//! How much the node has and how much of it pods may use. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::machine::{Disk, Machine};
use crate::config::{KubeletConfiguration, signal_bytes};
use crate::container_spec::{Format, Quantity};

pub type Amounts = BTreeMap<String, ApiQuantity>;

/// What the machine has.
#[must_use]
pub fn capacity(machine: &Machine, disk: Option<Disk>, max_pods: u32) -> Amounts {
    let mut amounts = Amounts::from([
        ("cpu".to_owned(), units(machine.cpus, Format::DecimalSi)),
        ("memory".to_owned(), kibi(machine.memory)),
        ("pods".to_owned(), units(u64::from(max_pods), Format::DecimalSi)),
    ]);
    if let Some(disk) = disk {
        amounts.insert("ephemeral-storage".to_owned(), kibi(disk.total));
    }
    for (size, count) in &machine.huge_pages {
        amounts.insert(huge_page_name(*size), units(size * 1024 * count, Format::BinarySi));
    }
    amounts
}

/// What pods may use: capacity without what is reserved and without what eviction keeps free, never below zero.
#[must_use]
pub fn allocatable(capacity: &Amounts, config: &KubeletConfiguration) -> Amounts {
    let eviction = config.hard_eviction();
    let amount = |amounts: &BTreeMap<String, String>, name: &str| {
        amounts.get(name).and_then(|text| text.parse::<Quantity>().ok()).unwrap_or(Quantity::ZERO)
    };
    let huge: i64 = capacity
        .iter()
        .filter(|(name, _)| name.starts_with("hugepages-"))
        .filter_map(|(_, value)| parse(value))
        .map(|value| value.value())
        .sum();
    capacity
        .iter()
        .map(|(name, value)| {
            let Some(total) = parse(value) else { return (name.clone(), value.clone()) };
            let mut rest =
                total.minus(&amount(&config.system_reserved, name)).minus(&amount(&config.kube_reserved, name));
            let signal = match name.as_str() {
                "memory" => {
                    rest = rest.minus(&Quantity::from_units(huge, Format::BinarySi));
                    eviction.get("memory.available")
                }
                "ephemeral-storage" => eviction.get("nodefs.available"),
                _ => None,
            };
            let bytes = u64::try_from(total.value()).unwrap_or(0);
            if let Some(kept) = signal.and_then(|threshold| signal_bytes(threshold, bytes)) {
                rest = rest.minus(&Quantity::from_units(i64::try_from(kept).unwrap_or(i64::MAX), Format::BinarySi));
            }
            let rest = if rest < Quantity::ZERO { Quantity::ZERO } else { rest };
            (name.clone(), rest.to_api())
        })
        .collect()
}

/// Adds what others gave the node (extended resources) to our amounts; their capacity is allocatable too.
pub fn keep_extended(capacity: &mut Amounts, allocatable: &mut Amounts, stored: Option<&Amounts>) {
    for (name, value) in stored.into_iter().flatten().filter(|(name, _)| name.contains('/')) {
        capacity.entry(name.clone()).or_insert_with(|| value.clone());
        allocatable.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

fn parse(value: &ApiQuantity) -> Option<Quantity> {
    value.0.parse().ok()
}

fn units(value: u64, format: Format) -> ApiQuantity {
    Quantity::from_units(i64::try_from(value).unwrap_or(i64::MAX), format).to_api()
}

/// Upstream writes sizes in Ki, so this is what people compare with.
fn kibi(bytes: u64) -> ApiQuantity {
    ApiQuantity(format!("{}Ki", bytes / 1024))
}

fn huge_page_name(kibibytes: u64) -> String {
    match kibibytes {
        size if size % (1 << 20) == 0 => format!("hugepages-{}Gi", size >> 20),
        size if size % (1 << 10) == 0 => format!("hugepages-{}Mi", size >> 10),
        size => format!("hugepages-{size}Ki"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_evicted_amounts_are_taken_off() {
        let machine =
            Machine { cpus: 4, memory: 8 << 30, huge_pages: vec![(2048, 0), (1 << 20, 1)], ..Machine::default() };
        let disk = Disk { total: 100 << 30, ..Disk::default() };
        let capacity = capacity(&machine, Some(disk), 110);
        assert_eq!(capacity["memory"].0, "8388608Ki");
        assert_eq!(capacity["hugepages-1Gi"].0, "1Gi");
        assert_eq!(capacity["hugepages-2Mi"].0, "0");
        let config = KubeletConfiguration {
            kube_reserved: BTreeMap::from([("cpu".into(), "500m".into()), ("memory".into(), "1Gi".into())]),
            ..KubeletConfiguration::default()
        };
        let allocatable = allocatable(&capacity, &config);
        assert_eq!(allocatable["cpu"].0, "3500m");
        let memory: Quantity = allocatable["memory"].0.parse().expect("quantity");
        assert_eq!(memory.value(), (6 << 30) - (100 << 20));
        let storage: Quantity = allocatable["ephemeral-storage"].0.parse().expect("quantity");
        assert_eq!(storage.value(), 90 << 30);
        assert_eq!(allocatable["pods"].0, "110");
    }

    #[test]
    fn nothing_goes_below_zero() {
        let capacity = capacity(&Machine { cpus: 1, memory: 1 << 20, ..Machine::default() }, None, 1);
        let config = KubeletConfiguration::default();
        assert_eq!(allocatable(&capacity, &config)["memory"].0, "0");
    }

    #[test]
    fn resources_of_others_stay() {
        let mut ours = Amounts::from([("cpu".into(), ApiQuantity("1".into()))]);
        let mut usable = ours.clone();
        let stored =
            Amounts::from([("cpu".into(), ApiQuantity("9".into())), ("x.io/gpu".into(), ApiQuantity("5".into()))]);
        keep_extended(&mut ours, &mut usable, Some(&stored));
        assert_eq!((ours["cpu"].0.as_str(), usable["x.io/gpu"].0.as_str()), ("1", "5"));
    }
}
