"""Makes build/deploy-venv: the PyPI packages of requirements.txt, for the deployment tests. Does nothing when it is current."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "deploy-venv")
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
STAMP = os.path.join(VENV, "requirements.txt")


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def main():
    if read(STAMP) == read(REQUIREMENTS):
        return
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", VENV], check=True)
    pip = [os.path.join(VENV, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True)
    shutil.copyfile(REQUIREMENTS, STAMP)


if __name__ == "__main__":
    main()
