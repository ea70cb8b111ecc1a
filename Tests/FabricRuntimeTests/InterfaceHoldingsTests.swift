import FabricCore
import FabricLinux
import FabricNode
import Testing

@testable import FabricRuntime

@Suite struct InterfaceHoldingsTests {
    /// A device in memory that fails where it is told to.
    final class Device: ConfigurableDevice {
        var present = InterfaceState(isUp: true, mtu: 1412, addresses: [], routes: [])
        var failing: Set<String> = []
        var calls: [String] = []
        let absence = SystemError("look", code: 19)

        private func call(_ name: String, _ change: () -> Void) throws(SystemError) {
            calls.append(name)
            if failing.contains(name) { throw SystemError(name, code: 16) }
            change()
        }

        func state() throws(SystemError) -> InterfaceState? {
            if failing.contains("look") { throw SystemError("look", code: 105) }
            return present
        }
        func disableAutoconfiguration() { calls.append("no autoconfiguration") }
        func setMTU(_ bytes: Int) throws(SystemError) { try call("mtu \(bytes)") { present.mtu = bytes } }
        func setUp(_ up: Bool) throws(SystemError) { try call(up ? "up" : "down") { present.isUp = up } }
        func addAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError) {
            try call("add \(address)") {
                present.addresses.append(InterfaceAddress(address, length: prefixLength)!)
            }
        }
        func removeAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError) {
            try call("remove \(address)") {
                present.addresses.removeAll { $0 == InterfaceAddress(address, length: prefixLength) }
            }
        }
        func addRoute(_ prefix: IPPrefix) throws(SystemError) {
            try call("add \(prefix)") { present.routes.append(prefix) }
        }
        func removeRoute(_ prefix: IPPrefix) throws(SystemError) {
            try call("remove \(prefix)") { present.routes.removeAll { $0 == prefix } }
        }
    }

    private func configuration(addresses: [String] = [], routes: [String] = []) -> InterfaceConfiguration {
        InterfaceConfiguration(
            domain: .fabric, address: IPPrefix("fd00::1/128")!, addresses: addresses.map { InterfaceAddress($0)! },
            routes: routes.map { IPPrefix($0)! }, mtu: 1412)
    }

    private static let full = (addresses: ["10.78.0.1/32"], routes: ["fd00::2/128"])

    /// A device that has an address and a route that were asked for.
    private func configured() -> (Device, InterfaceHoldings) {
        let device = Device()
        var holdings = InterfaceHoldings()
        let wanted = configuration(addresses: Self.full.addresses, routes: Self.full.routes)
        #expect(holdings.apply(wanted, to: device).isEmpty)
        #expect(device.present.addresses.count == 2 && device.present.routes.count == 1)
        device.calls = []
        return (device, holdings)
    }

    @Test func `what could not be taken off the device is taken off the next time`() {
        let (device, former) = configured()
        var holdings = former
        device.failing = ["remove fd00::2/128", "remove 10.78.0.1"]
        #expect(holdings.apply(configuration(), to: device).count == 2)
        // Also when it is none of the next configuration's business.
        #expect(holdings.apply(configuration(routes: ["fd00::3/128"]), to: device).count == 2)
        device.failing = []
        #expect(holdings.apply(configuration(routes: ["fd00::3/128"]), to: device).isEmpty)
        #expect(device.present.routes == [IPPrefix("fd00::3/128")!])
        #expect(device.present.addresses == [InterfaceAddress("fd00::1/128")!])
        #expect(holdings.addresses.isEmpty && holdings.routes == [IPPrefix("fd00::3/128")!])
    }

    @Test func `while the device can't be looked at nothing is changed, and nothing forgotten`() {
        let (device, former) = configured()
        var holdings = former
        device.failing = ["look"]
        #expect(holdings.apply(configuration(), to: device) == [SystemError("look", code: 105)])
        #expect(device.calls.isEmpty)
        device.failing = []
        #expect(holdings.apply(configuration(), to: device).isEmpty)
        #expect(device.present.routes.isEmpty && device.present.addresses == [InterfaceAddress("fd00::1/128")!])
    }

    @Test func `what somebody else has put on the device stays, and what he took off is no failure`() {
        let (device, former) = configured()
        var holdings = former
        device.present.routes = [IPPrefix("198.51.100.0/24")!]
        #expect(holdings.apply(configuration(), to: device).isEmpty)
        #expect(device.present.routes == [IPPrefix("198.51.100.0/24")!])
        #expect(device.calls == ["remove 10.78.0.1"])
    }

    @Test func `IPv6 makes no address of its own on a device that is raised or gets another MTU`() {
        let (device, former) = configured()
        var holdings = former
        let wanted = configuration(addresses: Self.full.addresses, routes: Self.full.routes)
        device.present.isUp = false
        #expect(holdings.apply(wanted, to: device).isEmpty)
        #expect(device.calls == ["no autoconfiguration", "up"])
        device.calls = []
        device.present.mtu = 1300
        #expect(holdings.apply(wanted, to: device).isEmpty)
        #expect(device.calls == ["mtu 1412", "no autoconfiguration"])
        device.calls = []
        device.present.mtu = 1200
        #expect(holdings.apply(wanted, to: device).isEmpty)
        #expect(device.calls == ["down", "mtu 1412", "no autoconfiguration", "up"])
        device.calls = []
        #expect(holdings.apply(wanted, to: device).isEmpty && device.calls.isEmpty)
    }
}
