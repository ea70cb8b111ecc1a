#if DEBUG || RAP_MUTANTS
    public import FabricCore

    /// The planted bugs, in words. They were chosen from the product's code alone, before any safety rule was written.
    public enum MutantCatalogue {
        public struct Entry: Sendable, Hashable {
            public var mutant: Mutant
            /// The case's name in kebab case.
            public var name: String
            public var sentence: String
        }

        /// In the order of the cases.
        public static let all: [Entry] = Mutant.allCases.map { mutant in
            Entry(mutant: mutant, name: kebab("\(mutant)"), sentence: sentence(mutant))
        }

        public static func named(_ name: String) -> Mutant? { all.first { $0.name == name }?.mutant }

        private static func kebab(_ name: String) -> String {
            var result = ""
            var previous: Character = "-"
            for character in name {
                if character.isUppercase, !previous.isUppercase { result.append("-") }
                result += character.lowercased()
                previous = character
            }
            return result
        }

        private static func sentence(_ mutant: Mutant) -> String {
            switch mutant {
            case .replayWindowForgetsNewest:
                "The replay window takes the newest counter again."
            case .replayWindowMovedByForgery:
                "The replay window moves before a datagram is authentic: one corrupt counter shuts out all that follow."
            case .macUnchecked:
                "mac1 is not checked: whoever sends is answered."
            case .keepaliveWithoutCounter:
                "A keepalive does not count: the next packet is sealed with its nonce."
            case .deadSessionsReceive:
                "Packets are taken under sessions of more than 180 s."
            case .rekeyTimerOff:
                "Keys are not renewed after 120 s; only their end at 180 s makes new ones."
            case .keepaliveNeverSent:
                "Who only receives never says so."
            case .innerSourceUnchecked:
                "The inner source address is not held against the allowed IPs."
            case .timestampUnchecked:
                "An initiation's time stamp is not checked: a recorded one is answered."
            case .cookieIgnored:
                "A cookie that was asked for is not used."
            case .cookieNeverAsked:
                "Under load no cookies are asked for."
            case .handshakesNeverWait:
                "Every handshake is worked on at once, and packets wait behind it."
            case .keysNeverZeroed:
                "Old keys stay in memory."
            case .roamingIgnored:
                "A peer that sends from another address is answered at the old one."
            case .endpointTakenUnauthenticated:
                "The address of a datagram is believed before the datagram is authentic."
            case .stagedPacketsLost:
                "What waited for the handshake is dropped at its end."
            case .responderNeverConfirms:
                "The responder never uses the session that the other side began."
            case .paddingKept:
                "The padding stays on the inner packet."
            case .paddingPastMTU:
                "Padding makes a full packet longer than the interface allows."
            case .timestampFloorIgnored:
                "Handshakes after a reboot are stamped by the wall clock alone."
            case .firstDomainForAll:
                "Packets of every domain come out in the first one."
            case .retransmissionOff:
                "A lost initiation is not sent again by itself."
            case .oldSessionDroppedAtRekey:
                "What is under way under the old key is lost at each rekey."
            case .crossingUnnoticed:
                "Two sides that begin at once answer each other, and get two sessions."
            case .probesCrowdOut:
                "Probes that wait for a session push out the packets that wait for it too."
            case .keysUsedBeforeDurable:
                "The join request leaves before the keys are on disk."
            case .tunnelsBeforeFloor:
                "Handshakes leave before their floor is on disk."
            case .floorNeverRaised:
                "The floor of time stamps is written once and never raised."
            case .floorOvertaken:
                "Handshakes don't wait for a floor above their time stamps."
            case .olderSnapshotAccepted:
                "A snapshot that is not newer is applied."
            case .foreignSnapshotAccepted:
                "A snapshot for another node is applied."
            case .admissionUnchecked:
                "A peer's admission is believed unsigned."
            case .formerPeersKept:
                "Tunnels with nodes that are no peers any more stay."
            case .newKeyAfterLostAnswer:
                "A lost answer makes the host enrol under new keys."
            case .staleEndpointKept:
                "A peer's new record does not change where its packets go."
            case .olderRecordAccepted:
                "A peer record that is not newer is taken."
            case .renewalNeverDue:
                "The certificate is never renewed."
            case .renewedCertificateUnused:
                "The renewed certificate is kept and not shown."
            case .timeFloorIgnored:
                "A clock that is behind is believed, whatever the control plane has told."
            case .snapshotNotPersisted:
                "Snapshots are not written to disk."
            case .membershipNotPersisted:
                "The membership is not written to disk."
            case .heartbeatStopsAtFailure:
                "After a heartbeat without a reply there is no other."
            case .deadParkUnnoticed:
                "A parked request whose connection died in silence is waited for to its end."
            case .pathUpForever:
                "A path that once was up counts as up for ever."
            case .restWithoutEnd:
                "A path that has been down for long is tried once more, and then no more."
            case .retriesAtOnce:
                "What failed is tried again at once, without end."
            case .tokenCountedLate:
                "A token's use is counted at the approval, not at the request."
            case .replyDespiteFailedCommit:
                "A reply leaves although nobody knows whether its transaction was committed."
            case .refusalBeforeRepeat:
                "A repeated request is refused when its token is used up meanwhile."
            case .revokedTokenAccepted:
                "A revoked token is good."
            case .expiredTokenAccepted:
                "An expired token is good."
            case .tokenScopeUnchecked:
                "A token's scope is not checked."
            case .proofUnchecked:
                "The proof of the tunnel keys is not checked."
            case .certificateBeforeApproval:
                "A host gets its certificate with its proof, before anybody approved it."
            case .certificateOutlivesIssuer:
                "A certificate may outlive its issuer."
            case .serialRepeated:
                "A certificate's serial number is that of the one before."
            case .previousSerialForgotten:
                "At a rotation the old certificate is refused at once."
            case .neighboursNotMarked:
                "Neighbours of a new node get no new snapshot."
            case .snapshotsNotCoalesced:
                "Every change makes snapshots at once."
            case .snapshotForWrongAudience:
                "A snapshot is made out to a peer of its node."
            case .snapshotChainBroken:
                "A snapshot does not name the one before."
            case .versionNotRaised:
                "A node that is ahead of a restored database is not caught up with."
            case .approvalNotAudited:
                "An approval leaves no row in the audit."
            case .auditChainBroken:
                "An audit row's hash does not cover the row before."
            case .rawTokenAudited:
                "The raw token stands in the audit."
            case .silenceUnnoticed:
                "Nodes that fall silent stay online."
            case .returnUnnoticed:
                "A node that was offline stays so in the records, though its heartbeats are stored."
            case .refusalsAllAudited:
                "Each refused enrolment is audited, however many there are."
            case .reportsAllAudited:
                "Each change that a node reports of itself is audited, however often it changes."
            case .approvalWakesNobody:
                "An approval does not wake the host that waits for it."
            case .recordTouchesNobody:
                "A new peer record does not wake the peers that wait."
            case .disabledNodeServed:
                "A disabled node is served."
            case .historyUnbounded:
                "The history of heartbeats grows without end."
            case .thresholdIgnored:
                "A document is believed however few signed it."
            case .payloadTypeUnsigned:
                "The type of a signed document is not covered by the signature."
            case .overlayAddressesCollide:
                "Overlay addresses are derived from too little of the node."
            case .controlPinIgnored:
                "Whoever shows a certificate in the control plane's name is taken for it, under whatever root."
            case .stateChecksumIgnored:
                "A state file's checksum is not checked."
            case .commitsUnsynced:
                "The database does not sync its commits."
            }
        }
    }
#endif
