"""TLS as cert-manager and a mounted Secret give it: who is refused, rotation under load, and the plain health port."""

import os
import socket
import ssl
import unittest

from fleet import Fleet, Load, Run, Work, assert_whole, samples, without_server
from harness import BIN_DIR, DeployTest, missing, need, wait_until

EXPIRY = "quantd_tls_certificate_expiry_timestamp_seconds"
NAME = "quantd.test"
RELOAD_SECONDS = 30
SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


class Authority:
    """A certificate authority and what it signs, with EC keys, by openssl."""

    def __init__(self, test, name):
        self._test = test
        self._folder = test.path(name)
        os.mkdir(self._folder)
        self.certificate, self._key = self._file("ca.crt"), self._file("ca.key")
        self._openssl("req", "-x509", *self._new_key(self._key), "-subj", f"/CN={name}", "-days", "30", "-out", self.certificate)

    def _file(self, name):
        return os.path.join(self._folder, name)

    def _openssl(self, *arguments):
        self._test.run_tool(need("openssl"), *arguments)

    def _new_key(self, path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    def leaf(self, name, usage, days=20):
        """Paths of a certificate for `name` and its key; a negative number of days makes one that has expired."""
        certificate, key = self._file(f"{name}{days}.crt"), self._file(f"{name}{days}.key")
        request, extensions = self._file("request"), self._file("extensions")
        with open(extensions, "w", encoding="utf-8") as file:
            file.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage={usage}\nkeyUsage=digitalSignature\n")
        self._openssl("req", "-new", *self._new_key(key), "-subj", f"/CN={name}", "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                      "-days", str(days), "-extfile", extensions, "-out", certificate)
        return certificate, key


class Secret:
    """A mounted Secret: files are links into `..data`, itself a link, which changes in one step."""

    FILES = ("tls.crt", "tls.key", "ca.crt")

    def __init__(self, folder):
        self.folder = folder
        self._version = 0
        os.mkdir(folder)
        for name in self.FILES:
            os.symlink(os.path.join("..data", name), os.path.join(folder, name))

    def put(self, certificate, key, authority):
        self._version += 1
        version = f"..version-{self._version}"
        os.mkdir(os.path.join(self.folder, version))
        for name, source in zip(self.FILES, (certificate, key, authority)):
            with open(source, encoding="utf-8") as file, open(os.path.join(self.folder, version, name), "w",
                                                             encoding="utf-8") as copy:
                copy.write(file.read())
        aside = os.path.join(self.folder, "..data_tmp")
        os.symlink(version, aside)
        os.replace(aside, os.path.join(self.folder, "..data"))

    def path(self, name):
        return os.path.join(self.folder, name)


def der(path):
    with open(path, encoding="utf-8") as file:
        return ssl.PEM_cert_to_DER_cert(file.read())


class Tls(DeployTest):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self, "authority")
        self.secret = Secret(self.path("secret"))
        self.served = self.authority.leaf(NAME, "serverAuth", days=10)
        self.secret.put(*self.served, self.authority.certificate)
        self.client = self.authority.leaf("client", "clientAuth")
        self.fleet = Fleet(self, extra=[
            "--threads", "1", "--max-connection-age", "2", "--health-listen", "127.0.0.1:0",
            "--tls-cert", self.secret.path("tls.crt"), "--tls-key", self.secret.path("tls.key"),
            "--tls-client-ca", self.secret.path("ca.crt")])
        self.replica = self.fleet.add()

    def flags(self, authority=None, leaf=None):
        certificate, key = leaf or self.client
        return ["--tls-ca", (authority or self.authority).certificate, "--tls-cert", certificate, "--tls-key", key]

    def methods(self, target, *flags, code):
        return self.quantctl("methods", "--server", target, *flags, code=code)

    def test_who_is_refused(self):
        other = Authority(self, "other")
        target = self.fleet.target
        refused = {
            "no client certificate": (target, self.flags()[:2]),
            "a client of another authority": (target, self.flags(leaf=other.leaf("client", "clientAuth"))),
            "an expired client": (target, self.flags(leaf=self.authority.leaf("client", "clientAuth", days=-1))),
            "a client that trusts another authority": (target, self.flags(authority=other)),
            "a server of another name": (self.replica.target, self.flags()),
            "plain text": (target, []),
        }
        for what, (address, flags) in refused.items():
            with self.subTest(what):
                self.assertIn("error: ", self.methods(address, *flags, code=1).stderr)
        self.assertIn("gptq", self.methods(target, *self.flags(), code=0).stdout)

    def presented(self):
        """The certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.load_cert_chain(*self.client)
        context.set_alpn_protocols(["h2"])
        with socket.create_connection((self.replica.host, self.replica.port)) as plain:
            with context.wrap_socket(plain, server_hostname=NAME) as connection:
                return connection.getpeercert(binary_form=True)

    def told_expiry(self):
        ((_, value),) = samples(self.replica.metrics(), EXPIRY)
        return value

    def expiry(self, certificate):
        told = self.run_tool(need("openssl"), "x509", "-in", certificate, "-noout", "-enddate").stdout
        return ssl.cert_time_to_seconds(told.strip().removeprefix("notAfter="))

    def test_rotation_under_load(self):
        """The Secret changes while runs go on, and connections, two seconds old at most, are made anew all the time."""
        self.assertEqual(self.presented(), der(self.served[0]))
        self.assertEqual(self.told_expiry(), self.expiry(self.served[0]))
        work = Work(self.folder, layers=6, rounds=300)
        load = Load(lambda: self.started(Run(self.folder, work, "--server", self.fleet.target, "--jobs", "2", *self.flags())),
                    clients=1)
        renewed, _ = leaf = self.authority.leaf(NAME, "serverAuth", days=25)
        self.secret.put(*leaf, self.authority.certificate)
        wait_until(lambda: self.presented() == der(renewed), "the new certificate", 2 * RELOAD_SECONDS)
        end = self.expiry(renewed)
        wait_until(lambda: self.told_expiry() == end, "the new certificate's end in the metric", 2 * RELOAD_SECONDS)
        expected = without_server(self.folder, work)
        for run in load.stop():
            assert_whole(self, run, expected)

    def health(self, service):
        """The answer of grpc.health.v1.Health/Check on the plain port, as bytes."""
        with self.grpc.insecure_channel(f"127.0.0.1:{self.replica.health_port}") as channel:
            name = service.encode()
            request = b"\x0a" + bytes([len(name)]) + name if name else b""
            return channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=10)

    def test_the_health_port_is_plain_and_serves_health_only(self):
        try:
            import grpc
        except ImportError:
            missing("python3-grpcio is not installed (make deploy installs it)")
        self.grpc = grpc
        for service in "", "quantd.v1.QuantizationService", "liveness":
            self.assertEqual(self.health(service), SERVING, service)
        with self.assertRaises(grpc.RpcError) as raised:
            self.health("somebody.else")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
        address = f"127.0.0.1:{self.replica.health_port}"
        self.run_tool(os.path.join(BIN_DIR, "quantd"), "health", address)
        self.assertIn("UNIMPLEMENTED", self.methods(address, code=2).stderr)


if __name__ == "__main__":
    unittest.main()
