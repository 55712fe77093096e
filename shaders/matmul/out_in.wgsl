// A matrix stored [n_out, n_in]: the weights of one output are contiguous.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/x_dot

// The sum over the inputs of x[at ..] * w[o], for the matrix whose first byte is `matrix`.
fn product(matrix: u32, o: u32, at: u32) -> f32 {
    var block = matrix + o * params.w_stride;
    var i = at;
    var sum = 0.0;
    for (var b = params.n_in / BLOCK_LEN; b > 0u; b--) {
        for (var e = 0u; e < BLOCK_LEN; e += 8u) {
            sum += x_dot(dequant(block, e), i);
            i += 8u;
        }
        block += BLOCK_BYTES;
    }
#if PLAIN
    for (var rest = params.n_in % BLOCK_LEN; rest > 0u; rest--) {
        sum += decode(block) * x[i];
        block += VALUE_BYTES;
        i += 1u;
    }
#endif
    return sum;
}
