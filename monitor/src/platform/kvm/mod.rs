//! The platform on `/dev/kvm`, be it served by VMX, SVM or PVM.

mod features;
mod machine;
mod state;
mod vcpu;

pub use machine::KvmMachine;
