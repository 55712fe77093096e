// MatMul by a matrix stored [n_in, n_out], one output of one row a thread.
#import matmul/params
#import matmul/in_out

@group(1) @binding(3) var<storage, read> scale: array<f32>;
@group(1) @binding(4) var<storage, read> bias: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x;
    let row = group.y;
    if o >= params.n_out || row >= params.rows {
        return;
    }
    var sum = product(params.w_base, o, params.x_base + row * params.x_stride);
    if params.scale_base != NONE {
        sum *= scale[params.scale_base + o];
    }
    if params.bias_base != NONE {
        sum += bias[params.bias_base + o];
    }
    let to = params.out_base + row * params.out_stride + o;
    if params.add != 0u {
        sum += out[to];
    }
    out[to] = sum;
}
