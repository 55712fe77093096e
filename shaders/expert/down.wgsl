// ExpertFfn, last product: adds to row r of `out` the products of its picks' experts with their rows of `x`.
// One thread sums all picks of its row, so that the order of the sum is fixed.
#import matmul/params
#import matmul/{layout}
#import expert/table

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x;
    let row = group.y;
    if o >= params.n_out || row >= params.rows {
        return;
    }
    var sum = 0.0;
    var any = false;
    for (var rank = 0u; rank < params.top_k; rank++) {
        let pick = row * params.top_k + rank;
        let matrix = locate(pick);
        if matrix.x != NONE {
            var part = product(matrix.x, o, params.x_base + pick * params.x_stride);
            if matrix.y != NONE {
                part *= scale[matrix.y + o];
            }
            sum += part;
            any = true;
        }
    }
    if any {
        out[params.out_base + row * params.out_stride + o] += sum;
    }
}
