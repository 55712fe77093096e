#!/usr/bin/env python3
"""Compiles the HLSL of every kernel, as translated by `cargo run -p puna-shaders --example translate DIR`.

    pip install --no-deps --target SLANG slangpy        # 92 MB; holds Slang's compiler, which reads HLSL
    python shaders/tests/hlsl.py SLANG DIR

Each file must compile to SPIR-V, and a file that is spoilt on purpose must not. Not part of `cargo xtask test`, for its size.
"""

import ctypes
import pathlib
import re
import sys

COMPUTE, SPIRV, HLSL = 6, 6, 5  # SlangStage, SlangCompileTarget, SlangSourceLanguage


def compiler(folder):
    path = next(pathlib.Path(folder).rglob("libslang-compiler.so*"))
    slang = ctypes.CDLL(str(path))
    for name in ("spCreateSession", "spCreateCompileRequest"):
        getattr(slang, name).restype = ctypes.c_void_p
    slang.spGetDiagnosticOutput.restype = ctypes.c_char_p
    session = ctypes.c_void_p(slang.spCreateSession(None))

    def compile(name, text):
        request = ctypes.c_void_p(slang.spCreateCompileRequest(session))
        slang.spSetCodeGenTarget(request, SPIRV)
        slang.spSetTargetProfile(request, 0, slang.spFindProfile(session, b"cs_6_2"))
        unit = slang.spAddTranslationUnit(request, HLSL, name.encode())
        slang.spAddTranslationUnitSourceString(request, unit, name.encode(), text.encode())
        entry = re.search(r"numthreads.*\nvoid (\w+)\(", text).group(1)
        slang.spAddEntryPoint(request, unit, entry.encode(), COMPUTE)
        failed = slang.spCompile(request) != 0
        said = (slang.spGetDiagnosticOutput(request) or b"").decode()
        slang.spDestroyCompileRequest(request)
        return failed, said

    return compile


def main():
    compile = compiler(sys.argv[1])
    files = sorted(pathlib.Path(sys.argv[2]).glob("*.hlsl"))
    bad = 0
    for file in files:
        failed, said = compile(file.stem, file.read_text())
        if failed:
            bad += 1
            print(f"{file.stem}: {said[:600]}")
    spoilt, _ = compile("spoilt", files[0].read_text().replace("[numthreads", "int spoilt = undeclared;\n[numthreads"))
    assert spoilt, "a spoilt file compiled"
    print(f"{len(files) - bad} of {len(files)} compile")
    sys.exit(bad != 0)


main()
