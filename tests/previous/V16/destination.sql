--
-- PostgreSQL database dump
--

\restrict LkUi7w9qiHhVCFYY7bCZdT2agqGBGG04WxtxSGz8PL2R4pCY6knh8N7faSaFvhp

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: _offtake_state; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._offtake_state (
    tenant_id text NOT NULL,
    mapping text NOT NULL,
    sequence_id bigint NOT NULL,
    backfilled boolean NOT NULL,
    backfill_key jsonb,
    epoch uuid NOT NULL,
    version text NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    source text,
    source_identity jsonb,
    served_since timestamp with time zone,
    served_at timestamp with time zone,
    verified_at timestamp with time zone,
    differences bigint
)
WITH (fillfactor='50');


--
-- Name: TABLE _offtake_state; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public._offtake_state IS 'offtake: up to which change of the source each mapping of each tenant is applied here';


--
-- Name: contact_channels; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contact_channels (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    type text,
    value text,
    is_primary boolean,
    is_verified boolean
);


--
-- Name: TABLE contact_channels; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.contact_channels IS 'offtake:contact_channels';


--
-- Name: invitations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.invitations (
    id uuid NOT NULL,
    method text,
    recipient text,
    team_id text,
    team_name text,
    expires_at timestamp with time zone,
    created_at timestamp(6) with time zone
);


--
-- Name: TABLE invitations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.invitations IS 'offtake:invitations';


--
-- Name: permissions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.permissions (
    id bigint NOT NULL,
    user_id uuid,
    team_id uuid,
    permission text
);


--
-- Name: TABLE permissions; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.permissions IS 'offtake:permissions';


--
-- Name: team_members; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.team_members (
    user_id uuid NOT NULL,
    team_id uuid NOT NULL,
    user_name text,
    team_name text,
    joined_at timestamp(6) with time zone
);


--
-- Name: TABLE team_members; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.team_members IS 'offtake:team_members';


--
-- Name: teams; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.teams (
    id uuid NOT NULL,
    display_name text,
    tags text[],
    monthly_budget numeric(14,4),
    members bigint,
    created_at timestamp(6) with time zone,
    CONSTRAINT teams_refuse CHECK ((display_name <> 'refused'::text))
);


--
-- Name: TABLE teams; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.teams IS 'offtake:teams';


--
-- Name: tenancies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenancies (
    id uuid NOT NULL,
    project_id text,
    branch_id text,
    display_name text,
    created_at timestamp with time zone
);


--
-- Name: TABLE tenancies; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.tenancies IS 'offtake:tenancies';


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id uuid NOT NULL,
    display_name text,
    primary_email text,
    profile jsonb NOT NULL,
    signed_up_at timestamp(6) with time zone NOT NULL
);


--
-- Name: TABLE users; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.users IS 'offtake:users';


--
-- Data for Name: _offtake_state; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public._offtake_state (tenant_id, mapping, sequence_id, backfilled, backfill_key, epoch, version, updated_at, source, source_identity, served_since, served_at, verified_at, differences) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	contact_channels	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	e32577c83c44c735	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	invitations	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	5ea3b5747299d8f3	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	permissions	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	6d987237fdb1c83b	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	team_members	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	32cac44ad9e26201	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	teams	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	e4ade03f394c123e	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	tenancies	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	8ff02afe0278523a	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	users	24	t	\N	982a5f5c-1c9b-4b28-b58a-f875d785dc01	561cb97a9cf1600e	2026-11-29 11:07:21.850111+00	source_8905_0 on server 7713548377846067941, timeline 1, installation 359e3c94	{"visit": 2, "daemon": "349d8502f6075a8d", "server": "7713548377846067941", "database": "16509", "timeline": "00000001", "visit_id": "b231a6b7-8910-4477-9339-6b5526e16b39", "installation": "359e3c94-fcd6-44d7-9db3-3b11b002d00c", "destination_id": 1}	2026-11-29 11:07:20.343936+00	2026-11-29 11:07:21.850111+00	\N	\N
\.


--
-- Data for Name: contact_channels; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.contact_channels (user_id, id, type, value, is_primary, is_verified) FROM stdin;
096a2645-be07-4ee2-97a8-c770f3cb5eab	9771f198-57dd-460d-a7d4-6211f18e16fa	email	user2@example.com	t	t
1f54db47-3a85-480a-ae64-2db7489fa01b	0dda0270-1a6c-4e39-9a27-66c7a779c9ed	email	user12@example.com	t	f
1f54db47-3a85-480a-ae64-2db7489fa01b	ded969d7-78eb-47fa-b8b0-50f0863e53b2	phone	+49 30 100012	t	f
3dbb6beb-cb93-416a-a483-8968c511c2cf	1b370b35-6643-4727-8053-9b070a7b920f	email	user19@example.com	t	t
69aa06aa-c907-42bd-bf64-84fcf7fee194	d161884f-030c-4dd2-b2f9-d48ef7521e20	email	user16@example.com	t	t
6ab70462-ecc1-4b75-8187-d7db342a3fd4	d9956154-dfce-418a-9641-235af1dcd782	email	user8@example.com	t	t
704d6cbd-8959-44d7-ab83-40e8740d18be	4e1f1a6f-8d10-488e-b929-4f16b48d2232	email	user17@example.com	t	t
7071f408-e140-4bb4-a3cb-e19285885d34	7c2225ee-4472-49c0-b46a-a98b69b0357c	phone	+49 30 100018	t	f
7071f408-e140-4bb4-a3cb-e19285885d34	d15ef11b-23c4-42b2-9785-65b8561a81cc	email	user18@example.com	t	f
779f2782-3420-4a1c-87eb-3116be5d9136	4220bddb-d6ed-4b9f-8485-d55a3f0edba8	email	user4@example.com	t	t
950fa31e-057c-4af6-a93c-37416d1fa9ca	ebd0692d-228b-4781-bd2d-ad6ec88c36a5	email	user11@example.com	t	t
9b8e7669-a603-4ced-9f7e-748879e5c093	e2d52964-c889-4794-a393-ecc71a47dc6f	email	user1@example.com	t	t
b2abd602-043b-4c96-945d-ef089c5df2de	f6178f12-5f4d-4439-bde1-110bfbd16515	email	user13@example.com	t	t
b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	bb6584fc-652e-4e72-ba46-a8a7d03cb657	phone	+49 30 100003	f	f
b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	ef540de4-3995-498a-83fa-ba9b8c5fc459	email	user3@example.com	t	f
b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	bbc65a32-b0b4-47ac-886c-7cead94ae3f7	email	user9@example.com	t	f
b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	c7b9eef2-0d37-4ebc-87f9-54462199f565	phone	+49 30 100009	f	f
cc1095f7-5794-46be-b644-5c886dbb4107	c0c93581-b232-4a56-925b-bad7f57a0d8f	email	user7@example.com	t	t
d57cc981-5d88-4848-9934-aed6c81f7baf	bb54423d-f809-4211-8db1-e20800d41101	email	user10@example.com	t	t
dedc37ac-1975-4889-be54-5e9a1f055ad4	ace4b4bc-a850-4c46-a1ea-4b8477d07179	email	user14@example.com	t	t
e3d75f30-a539-4719-8f2e-d48c453556e9	01234f2e-67bd-4c54-a749-a99817605743	email	user6@example.com	t	f
e3d75f30-a539-4719-8f2e-d48c453556e9	bce8e3a8-56b8-4a00-ae08-e1f5f478ae79	phone	+49 30 100006	t	f
ecf35354-2f84-4de3-9080-001bc6e221d5	4d7400d5-2f23-477f-bebf-5a4ac18f074a	email	user5@example.com	t	t
efe77743-188e-4700-a5f5-1eda36f0c305	7c5ee69a-1304-4dad-80c8-affc8fd2e74d	email	user20@example.com	t	t
fc3757d6-959d-429b-928c-7ffda64dddc6	89c6f7bf-8a47-47eb-b47c-defb06045591	phone	+49 30 100015	f	f
fc3757d6-959d-429b-928c-7ffda64dddc6	d285864e-f945-4efa-a128-7aa5571bd3cf	email	user15@example.com	t	f
\.


--
-- Data for Name: invitations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.invitations (id, method, recipient, team_id, team_name, expires_at, created_at) FROM stdin;
cad6370e-301d-4ac2-9389-fe2b5ec05a8c	link	guest2@example.com	1d1b473c-f5fe-46ce-869e-0b9edea633d8	Team 2	2026-12-06 11:07:18.730714+00	2026-11-29 11:07:18.751338+00
dce982da-dd27-4f83-bf48-09149ff76aba	email	guest2@example.com	1d1b473c-f5fe-46ce-869e-0b9edea633d8	Team 2	2026-12-06 11:07:18.730714+00	2026-11-29 11:07:18.751321+00
1e83d9f1-7fd3-43a1-8f3c-8db65d22f2a2	email	guest1@example.com	2ff3773b-353f-4a63-b981-2a246bf5db8c	refused	2026-12-06 11:07:18.730714+00	2026-11-29 11:07:18.74091+00
b9f306b3-6e6c-4bf2-9a6c-955f93c00d71	link	guest1@example.com	2ff3773b-353f-4a63-b981-2a246bf5db8c	refused	2026-12-06 11:07:18.730714+00	2026-11-29 11:07:18.751332+00
\.


--
-- Data for Name: permissions; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.permissions (id, user_id, team_id, permission) FROM stdin;
1	096a2645-be07-4ee2-97a8-c770f3cb5eab	\N	read
2	779f2782-3420-4a1c-87eb-3116be5d9136	\N	read
3	e3d75f30-a539-4719-8f2e-d48c453556e9	\N	read
4	6ab70462-ecc1-4b75-8187-d7db342a3fd4	\N	read
5	d57cc981-5d88-4848-9934-aed6c81f7baf	\N	read
6	1f54db47-3a85-480a-ae64-2db7489fa01b	\N	read
7	dedc37ac-1975-4889-be54-5e9a1f055ad4	\N	read
8	69aa06aa-c907-42bd-bf64-84fcf7fee194	\N	read
9	7071f408-e140-4bb4-a3cb-e19285885d34	\N	read
10	efe77743-188e-4700-a5f5-1eda36f0c305	\N	read
11	\N	2ff3773b-353f-4a63-b981-2a246bf5db8c	write
12	\N	1d1b473c-f5fe-46ce-869e-0b9edea633d8	write
\.


--
-- Data for Name: team_members; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.team_members (user_id, team_id, user_name, team_name, joined_at) FROM stdin;
3dbb6beb-cb93-416a-a483-8968c511c2cf	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 19	Team 2	2026-11-29 11:07:18.752152+00
704d6cbd-8959-44d7-ab83-40e8740d18be	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 17	Team 2	2026-11-29 11:07:18.752147+00
950fa31e-057c-4af6-a93c-37416d1fa9ca	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 11	Team 2	2026-11-29 11:07:18.752132+00
9b8e7669-a603-4ced-9f7e-748879e5c093	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 1	Team 2	2026-11-29 11:07:18.75196+00
b2abd602-043b-4c96-945d-ef089c5df2de	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 13	Team 2	2026-11-29 11:07:18.752137+00
b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 3	Team 2	2026-11-29 11:07:18.752112+00
b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 9	Team 2	2026-11-29 11:07:18.752127+00
cc1095f7-5794-46be-b644-5c886dbb4107	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 7	Team 2	2026-11-29 11:07:18.752122+00
ecf35354-2f84-4de3-9080-001bc6e221d5	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 5	Team 2	2026-11-29 11:07:18.752117+00
fc3757d6-959d-429b-928c-7ffda64dddc6	1d1b473c-f5fe-46ce-869e-0b9edea633d8	User 15	Team 2	2026-11-29 11:07:18.752142+00
096a2645-be07-4ee2-97a8-c770f3cb5eab	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 2	refused	2026-11-29 11:07:18.75211+00
1f54db47-3a85-480a-ae64-2db7489fa01b	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 12	refused	2026-11-29 11:07:18.752135+00
3dbb6beb-cb93-416a-a483-8968c511c2cf	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 19	refused	2026-11-29 11:07:18.752153+00
69aa06aa-c907-42bd-bf64-84fcf7fee194	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 16	refused	2026-11-29 11:07:18.752145+00
6ab70462-ecc1-4b75-8187-d7db342a3fd4	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 8	refused	2026-11-29 11:07:18.752125+00
704d6cbd-8959-44d7-ab83-40e8740d18be	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 17	refused	2026-11-29 11:07:18.752148+00
7071f408-e140-4bb4-a3cb-e19285885d34	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 18	refused	2026-11-29 11:07:18.75215+00
779f2782-3420-4a1c-87eb-3116be5d9136	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 4	refused	2026-11-29 11:07:18.752116+00
950fa31e-057c-4af6-a93c-37416d1fa9ca	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 11	refused	2026-11-29 11:07:18.752133+00
9b8e7669-a603-4ced-9f7e-748879e5c093	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 1	refused	2026-11-29 11:07:18.752107+00
b2abd602-043b-4c96-945d-ef089c5df2de	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 13	refused	2026-11-29 11:07:18.752138+00
b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 3	refused	2026-11-29 11:07:18.752114+00
b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 9	refused	2026-11-29 11:07:18.752128+00
cc1095f7-5794-46be-b644-5c886dbb4107	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 7	refused	2026-11-29 11:07:18.752124+00
d57cc981-5d88-4848-9934-aed6c81f7baf	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 10	refused	2026-11-29 11:07:18.75213+00
dedc37ac-1975-4889-be54-5e9a1f055ad4	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 14	refused	2026-11-29 11:07:18.75214+00
e3d75f30-a539-4719-8f2e-d48c453556e9	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 6	refused	2026-11-29 11:07:18.75212+00
ecf35354-2f84-4de3-9080-001bc6e221d5	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 5	refused	2026-11-29 11:07:18.752119+00
efe77743-188e-4700-a5f5-1eda36f0c305	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 20	refused	2026-11-29 11:07:18.752155+00
fc3757d6-959d-429b-928c-7ffda64dddc6	2ff3773b-353f-4a63-b981-2a246bf5db8c	User 15	refused	2026-11-29 11:07:18.752143+00
\.


--
-- Data for Name: teams; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.teams (id, display_name, tags, monthly_budget, members, created_at) FROM stdin;
1d1b473c-f5fe-46ce-869e-0b9edea633d8	Team 2	{sample,"no 2"}	2469.1356	10	2026-11-29 11:07:18.751276+00
2ff3773b-353f-4a63-b981-2a246bf5db8c	Team 1	{sample,"no 1"}	1234.5678	20	2026-11-29 11:07:18.740599+00
\.


--
-- Data for Name: tenancies; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.tenancies (id, project_id, branch_id, display_name, created_at) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	acme	main	acme	2026-11-29 11:07:18.475005+00
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.users (id, display_name, primary_email, profile, signed_up_at) FROM stdin;
096a2645-be07-4ee2-97a8-c770f3cb5eab	User 2	user2@example.com	{"labels": ["trial", 2], "locale": "ja", "visits": 14}	2026-11-29 11:05:18.730714+00
1f54db47-3a85-480a-ae64-2db7489fa01b	User 12	user12@example.com	{"labels": ["trial", 12], "locale": "en", "visits": 84}	2026-11-29 10:55:18.730714+00
3dbb6beb-cb93-416a-a483-8968c511c2cf	User 19	user19@example.com	{"labels": ["trial", 19], "locale": "pt", "visits": 133}	2026-11-29 10:48:18.730714+00
69aa06aa-c907-42bd-bf64-84fcf7fee194	User 16	user16@example.com	{"labels": ["trial", 16], "locale": "en", "visits": 112}	2026-11-29 10:51:18.730714+00
6ab70462-ecc1-4b75-8187-d7db342a3fd4	User 8	user8@example.com	{"labels": ["trial", 8], "locale": "en", "visits": 56}	2026-11-29 10:59:18.730714+00
704d6cbd-8959-44d7-ab83-40e8740d18be	User 17	user17@example.com	{"labels": ["trial", 17], "locale": "de", "visits": 119}	2026-11-29 10:50:18.730714+00
7071f408-e140-4bb4-a3cb-e19285885d34	User 18	user18@example.com	{"labels": ["trial", 18], "locale": "ja", "visits": 126}	2026-11-29 10:49:18.730714+00
779f2782-3420-4a1c-87eb-3116be5d9136	User 4	user4@example.com	{"labels": ["trial", 4], "locale": "en", "visits": 28}	2026-11-29 11:03:18.730714+00
950fa31e-057c-4af6-a93c-37416d1fa9ca	User 11	user11@example.com	{"labels": ["trial", 11], "locale": "pt", "visits": 77}	2026-11-29 10:56:18.730714+00
9b8e7669-a603-4ced-9f7e-748879e5c093	User 1	user1@example.com	{"labels": ["trial", 1], "locale": "de", "visits": 7}	2026-11-29 11:06:18.730714+00
b2abd602-043b-4c96-945d-ef089c5df2de	User 13	user13@example.com	{"labels": ["trial", 13], "locale": "de", "visits": 91}	2026-11-29 10:54:18.730714+00
b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	User 3	user3@example.com	{"labels": ["trial", 3], "locale": "pt", "visits": 21}	2026-11-29 11:04:18.730714+00
b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	User 9	user9@example.com	{"labels": ["trial", 9], "locale": "de", "visits": 63}	2026-11-29 10:58:18.730714+00
cc1095f7-5794-46be-b644-5c886dbb4107	User 7	user7@example.com	{"labels": ["trial", 7], "locale": "pt", "visits": 49}	2026-11-29 11:00:18.730714+00
dedc37ac-1975-4889-be54-5e9a1f055ad4	User 14	user14@example.com	{"labels": ["trial", 14], "locale": "ja", "visits": 98}	2026-11-29 10:53:18.730714+00
e3d75f30-a539-4719-8f2e-d48c453556e9	User 6	user6@example.com	{"labels": ["trial", 6], "locale": "ja", "visits": 42}	2026-11-29 11:01:18.730714+00
ecf35354-2f84-4de3-9080-001bc6e221d5	User 5	user5@example.com	{"labels": ["trial", 5], "locale": "de", "visits": 35}	2026-11-29 11:02:18.730714+00
fc3757d6-959d-429b-928c-7ffda64dddc6	User 15	user15@example.com	{"labels": ["trial", 15], "locale": "pt", "visits": 105}	2026-11-29 10:52:18.730714+00
\.


--
-- Name: _offtake_state _offtake_state_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._offtake_state
    ADD CONSTRAINT _offtake_state_pkey PRIMARY KEY (tenant_id, mapping);


--
-- Name: contact_channels contact_channels_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contact_channels
    ADD CONSTRAINT contact_channels_pkey PRIMARY KEY (user_id, id);


--
-- Name: invitations invitations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_pkey PRIMARY KEY (id);


--
-- Name: permissions permissions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.permissions
    ADD CONSTRAINT permissions_pkey PRIMARY KEY (id);


--
-- Name: team_members team_members_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_pkey PRIMARY KEY (user_id, team_id);


--
-- Name: teams teams_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (id);


--
-- Name: tenancies tenancies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenancies
    ADD CONSTRAINT tenancies_pkey PRIMARY KEY (id);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- PostgreSQL database dump complete
--

\unrestrict LkUi7w9qiHhVCFYY7bCZdT2agqGBGG04WxtxSGz8PL2R4pCY6knh8N7faSaFvhp

