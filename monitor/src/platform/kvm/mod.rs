//! The platform on `/dev/kvm`, be it served by VMX, SVM or PVM.

mod features;
mod machine;
mod pieces;
mod state;
mod vcpu;

pub use machine::KvmMachine;
