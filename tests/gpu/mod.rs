//! The GPU as an application meets it: chosen, refused, lost, shared.

mod lost;
mod opening;

use puna::interop::wgpu;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The value of a future that is ready at once, as wgpu's are on a machine of one's own.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("wgpu kept us waiting"),
    }
}

/// An application's own device, with WebGPU's default limits.
fn own_device() -> (wgpu::Adapter, wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = ready(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let limits = wgpu::Limits::defaults();
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = ready(adapter.request_device(&descriptor)).unwrap();
    (adapter, device, queue)
}
