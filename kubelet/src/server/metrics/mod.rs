//! Figures for monitoring in the Prometheus text format. Names and labels: upstream `pkg/kubelet/metrics/collectors`,
//! `pkg/kubelet/metrics` and cAdvisor's `metrics/prometheus.go`.

mod cadvisor;
mod exposition;
mod kubelet;
mod probes;
mod resource;

pub use cadvisor::cadvisor;
pub use kubelet::kubelet;
pub use probes::probes;
pub use resource::resource;
